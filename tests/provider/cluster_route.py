#!/usr/bin/python3 -B
"""Three provider processes on one PostgreSQL and three NATS nodes: whatever is asked of any of them
reaches the gateway wherever it is held; a lost hint costs a second and nothing else; when a holder
dies its gateways go on at another with a higher epoch (invariants 4, 5 and 6)."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster  # noqa: E402
from story import check, story, wait_until  # noqa: E402
from swarm import Swarm, prepare  # noqa: E402

GATEWAYS = 12


def swarm_at(cluster, name, *providers):
    """All gateways, dialling only these processes."""
    identities = cluster.folder + "/identities"
    if not os.path.exists(identities):
        prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], GATEWAYS, 5, identities)
    swarm = Swarm(cluster.folder + "/" + name, identities, [p.channel for p in providers])
    swarm.start()
    swarm.wait("all are held", held=GATEWAYS)
    return swarm


def change(provider, name, gateway="swarm-000003"):
    """Creates a volume through this process; how long it took until it was available."""
    began = time.monotonic()
    volume = provider.must("volume", "create", "--gateway", gateway, "--name", name, "--size",
                           "64MiB", "--wait")
    check(volume["status"] == "available", f"{name} is {volume['status']}: {volume['reason']}")
    return time.monotonic() - began


def asked_anywhere(folder):
    with Cluster(folder) as cluster:
        one, two, three = cluster.providers
        swarm = swarm_at(cluster, "swarm", two)
        try:
            for provider in cluster.providers:
                wait_until("hints travel", lambda p=provider: p.said("hints travel over"))
            took = [change(provider, f"v{number}")
                    for number, provider in enumerate(cluster.providers)]
            print(f"created and available at holder and elsewhere after {took} s")
            for provider in cluster.providers:
                seen = provider.must("volume", "list")
                check([v["status"] for v in seen] == ["available"] * 3,
                      f"{provider.address} sees {[v['status'] for v in seen]}")
            one.must("volume", "detach", "v0", "--wait")
            three.must("volume", "delete", "v0", "--wait")
            check(len(two.must("volume", "list")) == 2, "v0 is still there")
            check(one.ask("volume", "create", "--gateway", "swarm-000003", "--name", "v1", "--size",
                          "64MiB")[0] != 0, "a name was given twice")
        finally:
            swarm.stop()


if __name__ == "__main__":
    story([asked_anywhere])
