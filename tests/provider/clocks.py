#!/usr/bin/python3 -B
"""Processes of one provider whose clocks differ by days, on PostgreSQL: what one of them stored is not
too old, or of the future, for another; nothing expires early, and who is revoked at the one is cut
off at the other (invariants 4 and 7)."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from clock import LIBRARY, moved_by, set_clock  # noqa: E402
from cluster import Cluster, skip, swarm_at  # noqa: E402
from story import check, story, wait_until  # noqa: E402

DAY_S = 86400
GATEWAYS = 3


def days_apart(folder):
    cluster = Cluster(folder, count=2, nodes=0, standby_spread_ms=100)
    behind, ahead = cluster.providers
    for provider, days in ((behind, -3), (ahead, 3)):
        provider.env = moved_by(provider.folder + "/clock")
        set_clock(provider.folder + "/clock", days * DAY_S)
    with cluster:
        swarm = swarm_at(cluster, "swarm", [ahead], GATEWAYS)
        swarm.stop()
        wait_until("they are away", lambda: not any(
            g["connected"] for g in ahead.must("gateway", "list")))
        began_ms = time.time() * 1000
        for number, provider in enumerate(cluster.providers):
            action = provider.must("gateway", "act", f"swarm-{number:06}", "restart-volumed")
            made_ms = int(action["action_id"].removeprefix("act-"), 16)
            check(abs(made_ms - began_ms) < 60000, f"its number is of another day: {action}")
        swarm.start()
        swarm.wait("all are held", held=GATEWAYS)

        def states():
            return {a["state"] for a in behind.must("action", "list")}
        wait_until("what was stored is done", lambda: states() == {"done"})
        behind.must("gateway", "revoke", "swarm-000002")
        wait_until("it is cut off where it is held",
                   lambda: swarm.status["held"] == GATEWAYS - 1, 10)
        swarm.stop()


if __name__ == "__main__":
    if not LIBRARY:
        skip("no libfaketime; apt-get install libfaketime")
    story([days_apart])
