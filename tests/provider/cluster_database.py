#!/usr/bin/python3 -B
"""Several provider processes whose PostgreSQL stops, hangs, comes back, or comes back older: what is
held goes on being held, changes are refused with a reason and work again by themselves, and a
restored backup bricks nothing (invariants 4, 5 and 6)."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster, epochs, swarm_at  # noqa: E402
from story import check, story, wait_until  # noqa: E402

GATEWAYS = 12
GATEWAY = "swarm-000003"
# These gateways have one place to dial; they are not to be sent on from it.
STILL = {"rebalance_per_s": 0}
CREATE = ("volume", "create", "--gateway", GATEWAY, "--size", "64MiB", "--wait", "--name")


def expect_away(provider):
    """It says so, and answers soon; changes are refused with a reason."""
    wait_until("the process notices", lambda: provider.must("info")["registry_away"])
    for question in ((*CREATE, "no"), ("volume", "list"), ("gateway", "show", GATEWAY)):
        began = time.monotonic()
        status, _, said = provider.ask(*question)
        check(status != 0 and "registry" in said, f"{question}: {status} {said}")
        check(time.monotonic() - began < 5, f"{question} took long")


def lost_and_found(folder):
    with Cluster(folder, ping_interval_ms=2000, **STILL) as cluster:
        one, two, _ = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            for how in ("stops", "hangs"):
                before, ended = epochs(swarm, gateway_of(two)), swarm.status["ended"]
                reports = swarm.status["reports"]
                if how == "stops":
                    cluster.postgres.stop(signal.SIGQUIT)
                else:
                    cluster.postgres.hang()
                for provider in (one, two):
                    expect_away(provider)
                # Reports, and between them pings, go on: several of each gateway.
                wait_until("reports go on", lambda n=reports:
                           swarm.status["reports"] > n + 5 * GATEWAYS)
                if how == "stops":
                    cluster.postgres.start()
                else:
                    cluster.postgres.hang(False)
                for provider in (one, two):
                    wait_until("it is back", lambda p=provider:
                               not p.must("info")["registry_away"])
                one.must(*CREATE, "after-it-" + how)
                check(swarm.status["ended"] == ended and
                      epochs(swarm, gateway_of(two)) == before, "a connection was lost")
        finally:
            cluster.postgres.hang(False)
            swarm.stop()


def gateway_of(provider):
    return provider.must("gateway", "show", GATEWAY)["gateway_id"].removeprefix("sgw-")


def older_backup(folder):
    with Cluster(folder, **STILL) as cluster:
        one, two, three = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            one.must(*CREATE, "kept")
            cluster.postgres.dump(folder + "/backup")
            # The gateway moves on: documents, and connections, that the backup does not know.
            one.must(*CREATE, "later")
            one.must("volume", "delete", "later", "--wait")
            for _ in range(2):
                # As if it had connected that often.
                cluster.postgres.sql("UPDATE gateways SET epoch = epoch + 100000")
                swarm.stop(signal.SIGKILL)
                swarm.start()
                swarm.wait("all are held again", held=GATEWAYS)
            gateway = gateway_of(two)
            before = epochs(swarm, gateway)[-1]
            for provider in cluster.providers:
                provider.stop()
            cluster.postgres.restore(folder + "/backup")
            for provider in cluster.providers:
                provider.start().wait_ready()
            swarm.wait("all are held by the older registry", held=GATEWAYS)
            wait_until("the epoch is above what the gateway knew",
                       lambda: epochs(swarm, gateway)[-1] > before)
            wait_until("the gateway's problem is shown", lambda: "restored" in two.must(
                "gateway", "show", GATEWAY).get("problem", ""))
            # One process is told; the others notice.
            three.stop()
            three.start("--new-incarnation").wait_ready()
            for provider in cluster.providers:
                wait_until("the new incarnation is everywhere", lambda p=provider:
                           p.must("info")["incarnation"] == three.must("info")["incarnation"])
            one.must(*CREATE, "again")
            check({v["name"] for v in two.must("volume", "list")} == {"kept", "again"}, "volumes")
            check(two.must("gateway", "show", GATEWAY)["problem"] == "", "there is a problem")
        finally:
            swarm.stop()


if __name__ == "__main__":
    story([lost_and_found, older_backup])
