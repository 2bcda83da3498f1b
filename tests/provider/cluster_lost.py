#!/usr/bin/python3 -B
"""What several processes know of each other's gateways: whose holder is killed, and which come to
nobody else, is told out of band within a minute (at the usual ping interval), once; a process that
was taken for dead and lives says again what it holds; who looks at a gateway through another process
sees what it reports now."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster, epochs, swarm_at  # noqa: E402
from receiver import Receiver  # noqa: E402
from story import check, story, wait_until  # noqa: E402

GATEWAYS = 12
GATEWAY = "swarm-000003"
STILL = {"rebalance_per_s": 0}
# The time is in proportion to the pings, but for the looks: 20 s at the least.
PING_MS = int(os.environ.get("HOLDFAST_TEST_PING_MS", "4000"))
WITHIN_S = max(20, PING_MS * 3 / 1000)


def told(receiver, event):
    return [a for a in receiver.alerts if a["event"] == event]


def holder_killed(folder):
    receiver = Receiver()
    with Cluster(folder, nodes=1, ping_interval_ms=PING_MS, **STILL,
                 **receiver.settings(folder)) as cluster:
        one, two, three = cluster.providers
        gateways = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            # Who starts gives everybody time to come; that is not what is measured.
            time_to_settle = time.monotonic() + PING_MS * 9 / 4000
            wait_until("both have settled", lambda: time.monotonic() > time_to_settle, WITHIN_S)
            two.stop(signal.SIGKILL)
            gateways.stop(signal.SIGKILL)
            died = time.monotonic()
            wait_until("all are told", lambda: len(told(receiver, "gateway.lost")) >= GATEWAYS,
                       WITHIN_S + 10)
            took = time.monotonic() - died
            print(f"{GATEWAYS} gateways of a killed holder were told {took:.1f} s after it "
                  f"(ping interval {PING_MS / 1000:g} s)")
            check(took < WITHIN_S, f"told after {took:.1f} s")
            gateways = swarm_at(cluster, "swarm", [three], GATEWAYS)
            wait_until("all are told to be back", lambda: len(
                told(receiver, "gateway.recovered")) >= GATEWAYS, 20)
            for event in ("gateway.lost", "gateway.recovered"):
                ids = [a["gateway_id"] for a in told(receiver, event)]
                check(len(ids) == len(set(ids)) == GATEWAYS, f"{event}: {ids}")
            check({a["attempt"] for a in receiver.alerts} == {1} and not receiver.wrong, "signatures")
            check(not any(two.channel in str(p) for p in one.must("info")["processes"]), "it is back")
        finally:
            gateways.stop()
    receiver.close()


def taken_for_dead(folder):
    receiver = Receiver()
    with Cluster(folder, nodes=1, **STILL, **receiver.settings(folder)) as cluster:
        one, two, _ = cluster.providers
        gateways = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            process = int(two.must("info")["process"], 16)
            signed = process - (1 << 64) if process >> 63 else process
            cluster.postgres.sql(f"DELETE FROM processes WHERE id = {signed}; "
                                 f"UPDATE gateways SET process = 0 WHERE process = {signed}")
            wait_until("the others know again who holds", lambda: all(
                g["connected"] and int(g["process"], 16) == process
                for g in one.must("gateway", "list")), 10)
            one.must("volume", "create", "--gateway", GATEWAY, "--name", "v", "--size", "64MiB",
                     "--wait")
            gateway = two.must("gateway", "show", GATEWAY)["gateway_id"].removeprefix("sgw-")
            check(len(epochs(gateways, gateway)) == 1, "the gateway was held anew")
            check(not receiver.alerts, f"{receiver.alerts}")
        finally:
            gateways.stop()
    receiver.close()


def looked_at(folder):
    with Cluster(folder, nodes=1, report_interval_ms=600000, watch_interval_ms=200,
                 **STILL) as cluster:
        one, two, _ = cluster.providers
        gateways = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            one.must("volume", "create", "--gateway", GATEWAY, "--name", "v", "--size", "64MiB",
                     "--wait")
            for question, hints in ((("gateway", "show", GATEWAY), True),
                                    (("volume", "show", "v"), False)):
                wait_until("hints travel or do not", lambda h=hints:
                           one.must("info")["hints_travel"] == h)
                wait_until("nobody looks", lambda: quiet(gateways), 30)
                before, asked = gateways.status["reports"], time.monotonic()
                one.must(*question)
                wait_until("it reports while somebody looks elsewhere",
                           lambda n=before: gateways.status["reports"] >= n + 3, 10)
                print(f"{question[0]}, hints {hints}: reports after "
                      f"{time.monotonic() - asked:.1f} s")
                seen = stored(cluster)
                wait_until("the registry has what is new",
                           lambda t=seen: stored(cluster) > t, 5)
                cluster.nats.stop()
        finally:
            gateways.stop()


def stored(cluster):
    return int(cluster.postgres.sql("SELECT MAX(reported_ms) FROM placements"))


def quiet(gateways):
    """Nothing was reported for two seconds: a line of status is about something new."""
    return time.time() > gateways.status["time"] + 2


if __name__ == "__main__":
    story([holder_killed, taken_for_dead, looked_at])
