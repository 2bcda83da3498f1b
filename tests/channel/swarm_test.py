#!/usr/bin/python3 -B
"""Simulated gateways are gateways: they are held, apply what an administrator changes, report it,
and go on after kill -9 where they were (invariants 4 and 5). What they did is read from the ledger.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import check, free_ports, story, wait_until  # noqa: E402
from swarm import OneProvider, Swarm, end, prepare  # noqa: E402

GATEWAYS = 100


def swarm_of(folder):
    provider = OneProvider(folder, free_ports(2), report_interval_ms=200, ping_interval_ms=1000)
    identities = os.path.join(folder, "identities")
    provider.start_signer()
    provider.start_provider()
    provider.wait_ready()
    prepare(provider.registry, provider.run, GATEWAYS, 7, identities)
    return provider, Swarm(os.path.join(folder, "swarm"), identities, [provider.endpoint])


def applied(swarm, gateway):
    return [e for e in swarm.effects() if e[1] == "applied" and e[2] == gateway]


def held_changed_and_killed(folder):
    provider, swarm = swarm_of(folder)
    try:
        swarm.start()
        swarm.wait("all are held", held=GATEWAYS)
        volume = provider.ask("volume", "create", "--gateway", "swarm-000042", "--name", "v",
                              "--size", "64MiB", "--wait")
        check(volume["status"] == "available", f"the volume is {volume['status']}")
        gateway = volume["gateway_id"].removeprefix("sgw-")
        before = applied(swarm, gateway)
        check(before, "the ledger knows nothing of it")
        check(len({e[2] for e in swarm.effects() if e[1] == "applied"}) == 1,
              "another gateway applied something")

        swarm.stop(signal.SIGKILL)
        swarm.start()
        swarm.wait("all are held again", held=GATEWAYS)
        provider.ask("volume", "grow", "v", "--size", "128MiB", "--wait")
        after = applied(swarm, gateway)[len(before):]
        check([e[6] for e in after] == sorted(e[6] for e in after) and
              after[0][6] > before[-1][6], "a change was applied twice or out of order")
        epochs = [e[3] for e in swarm.effects() if e[1] == "held" and e[2] == gateway]
        check(epochs == sorted(set(epochs)) and len(epochs) == 2, f"epochs {epochs}")

        end(provider.provider, signal.SIGKILL)
        wait_until("the swarm notices", lambda: swarm.status["held"] == 0)
        provider.start_provider()
        swarm.wait("all come back", held=GATEWAYS)
    finally:
        swarm.stop()
        provider.stop()


if __name__ == "__main__":
    story([held_changed_and_killed])
