#!/usr/bin/python3 -B
"""A gateway with a standby is commandable again without a new handshake when its holder is killed,
and within three pings when the holder's network falls silent (invariant 5). Two processes over
PostgreSQL and NATS; what the simulated gateways did is read from the ledger.

HF_PING_MS: the interval of pings (default: 1000).
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster  # noqa: E402
from fault_proxy import FaultProxy  # noqa: E402
from story import check, story, wait_until  # noqa: E402
from swarm import Swarm, prepare  # noqa: E402

GATEWAYS = 60
PING_MS = int(os.environ.get("HF_PING_MS", "1000"))


def ready_since(swarm, since_us):
    """{gateway: µs after `since_us` when it had a new epoch, durable}."""
    first = {}
    for time_us, kind, gateway, *_ in swarm.effects():
        if kind == "ready" and time_us >= since_us:
            first.setdefault(gateway, time_us - since_us)
    return first


def promoted_since(swarm, since_us):
    """Gateways whose standby became the active connection."""
    return {e[2] for e in swarm.effects() if e[1] == "held" and e[0] >= since_us and e[4] == 1}


def all_with_standby(swarm):
    swarm.wait("all are held, with a standby", 60, held=GATEWAYS, parked=GATEWAYS)


def change_arrives(cluster, swarm, name):
    volume = cluster.providers[1].must("volume", "create", "--gateway", "swarm-000007", "--name",
                                       name, "--size", "64MiB", "--wait")
    check(volume["status"] == "available", f"{name} is {volume['status']}")
    check(any(e[1] == "applied" for e in swarm.effects()), "it was applied")


def standbys_take_over(folder):
    settings = {"ping_interval_ms": PING_MS, "rebalance_per_s": 0, "standby_spread_ms": 200}
    with Cluster(folder, count=2, nodes=1, **settings) as cluster:
        identities = os.path.join(folder, "identities")
        prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], GATEWAYS, 11,
                identities)
        proxies = [FaultProxy(p.address, 7001) for p in cluster.providers]
        swarm = Swarm(os.path.join(folder, "swarm"), identities, [p.endpoint for p in proxies],
                      "--standby", "--first", 0)
        swarm.start()
        try:
            all_with_standby(swarm)
            since_us = time.time_ns() // 1000
            cluster.providers[0].stop(signal.SIGKILL)
            wait_until("all are commandable after the kill",
                       lambda: len(ready_since(swarm, since_us)) == GATEWAYS)
            check(len(promoted_since(swarm, since_us)) == GATEWAYS, "by their standbys")
            change_arrives(cluster, swarm, "after-the-kill")
            cluster.providers[0].start()
            cluster.providers[0].wait_ready()
            all_with_standby(swarm)

            since_us = time.time_ns() // 1000
            proxies[1].silent = True
            wait_until("all are commandable though one network is silent",
                       lambda: len(ready_since(swarm, since_us)) == GATEWAYS, 70)
            worst_ms = max(ready_since(swarm, since_us).values()) / 1000
            check(worst_ms <= 3 * PING_MS, f"the last was commandable after {worst_ms} ms")
            check(len(promoted_since(swarm, since_us)) == GATEWAYS, "by their standbys")
            print(f"silent: the last commandable after {worst_ms:.0f} ms, pings {PING_MS} ms")
        finally:
            swarm.stop(signal.SIGKILL)


if __name__ == "__main__":
    story([standbys_take_over])
