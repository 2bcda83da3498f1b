#!/usr/bin/python3 -B
"""A gateway that is lost is told out of band, and its return too: within the time the settings give,
signed, with a number that tells repetitions, at least once whatever the receiver and the provider
go through, and never for a gateway that only changed its connection."""

import os
import signal
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from plane import Plane  # noqa: E402
from receiver import SECRET, Receiver  # noqa: E402
from story import check, story, wait_until  # noqa: E402

MANY = 3000


def plane_with(folder, receiver):
    return Plane(folder, provider={**receiver.settings(folder), "lost_after_ms": 1500})


def lost_and_recovered(folder):
    receiver = Receiver()
    with plane_with(folder, receiver) as plane:
        plane.start_provider()
        plane.start_agent()
        gateway = plane.activate()
        # A gateway that only changes its connection is not lost.
        plane.restart_agent()
        plane.wait_held()
        plane.stop("agent", signal.SIGKILL)
        died = time.monotonic()
        wait_until("the alert", lambda: receiver.alerts, 20)
        check(time.monotonic() - died < 6, "told too late")
        alert = receiver.alerts[0]
        check(alert["event"] == "gateway.lost" and alert["gateway_id"] == gateway and
              alert["gateway_name"] == "lab", f"{alert}")
        plane.start_agent()
        wait_until("the recovery", lambda: "gateway.recovered" in receiver.events(), 20)
        check(receiver.events() == ["gateway.lost", "gateway.recovered"], receiver.events())
        # Silent: the connection stands and nothing is heard.
        agent = plane.processes["agent"]
        os.kill(agent.pid, signal.SIGSTOP)
        wait_until("the second alert", lambda: len(receiver.alerts) == 3, 20)
        check(receiver.alerts[2]["event"] == "gateway.lost", receiver.events())
        os.kill(agent.pid, signal.SIGCONT)
        wait_until("the second recovery", lambda: len(receiver.alerts) == 4, 30)
        check(not receiver.wrong, f"signatures: {receiver.wrong}")
        check(len({a["id"] for a in receiver.alerts}) == 4, "numbers are not its own")
        for name in ("provider", "agent"):
            check(SECRET not in plane.log(name), "the secret stands in a log")
    receiver.close()


def nothing_is_forgotten(folder):
    receiver = Receiver()
    port = receiver.port
    with plane_with(folder, receiver) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        receiver.refuse = 2
        plane.stop("agent", signal.SIGKILL)
        wait_until("three tries", lambda: len(receiver.alerts) >= 3, 30)
        check([a["attempt"] for a in receiver.alerts] == [1, 2, 3] and
              len({a["id"] for a in receiver.alerts}) == 1, f"{receiver.alerts}")
        # The receiver is away when the gateway comes back, and the provider is killed meanwhile.
        receiver.close()
        plane.start_agent()
        wait_until("the recovery to wait", lambda: "alert" in plane.log("provider") and
                   "is back" in plane.log("provider"), 20)
        plane.stop("provider", signal.SIGKILL)
        plane.start_provider()
        again = Receiver(port)
        wait_until("what waited", lambda: "gateway.recovered" in again.events(), 90)
        check(set(again.events()) == {"gateway.recovered"}, again.events())
        again.close()


def who_does_not_come_back_is_lost(folder):
    receiver = Receiver()
    with plane_with(folder, receiver) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        plane.stop("provider", signal.SIGKILL)
        plane.stop("agent", signal.SIGKILL)
        plane.start_provider()
        wait_until("the alert", lambda: receiver.events() == ["gateway.lost"], 30)
        check("no process has held it" in receiver.alerts[0]["reason"], receiver.alerts)
    receiver.close()


def thousands_at_once(folder):
    """The loop goes on serving those who are there while thousands are noted as lost."""
    with Plane(folder, provider={"lost_after_ms": 1500}) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        plane.stop("agent", signal.SIGKILL)
        plane.stop("provider")
        with sqlite3.connect(plane.path("provider", "registry.db")) as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(gateways)")]
            row = dict(zip(columns, db.execute("SELECT * FROM gateways").fetchone()))
            db.executemany(
                f"INSERT INTO gateways ({', '.join(columns)}) VALUES "
                f"({', '.join('?' * len(columns))})",
                [[*{**row, "id": 1000 + i, "name": f"g{i}", "identity_key": os.urandom(32),
                    "last_seen_ms": 1}.values()] for i in range(MANY)])
        db.close()
        plane.start_provider()
        slowest = 0
        while plane.log("provider").count(" is lost: ") < MANY:
            began = time.monotonic()
            check(plane.works("holdfast", "info"), "the provider does not answer")
            slowest = max(slowest, time.monotonic() - began)
        print(f"{MANY} lost at once; the slowest answer meanwhile took {slowest:.2f} s")
        check(slowest < 0.3, f"an answer took {slowest:.2f} s")


def bad_settings_are_refused(folder):
    for keys, text in (({"webhook_url": "ftp://x"}, "http://"),
                       ({"webhook_url": "http://x"}, "belong together"),
                       ({"webhook_url": "http://x", "webhook_secret": "/nowhere"}, "/nowhere")):
        sub = os.path.join(folder, str(len(os.listdir(folder))))
        os.mkdir(sub)
        plane = Plane(sub, provider=keys)
        plane.start("provider", plane.provider_config)
        status = plane.processes.pop("provider").wait(10)
        check(status != 0 and text in plane.log("provider"), f"{keys}: {plane.log('provider')}")


if __name__ == "__main__":
    story((lost_and_recovered, nothing_is_forgotten, who_does_not_come_back_is_lost,
           thousands_at_once, bad_settings_are_refused))
