#!/usr/bin/python3 -B
"""One gateway with two tgtd, each with its own portal, broker and ring.

Promises: volumes are spread over both, and each is at the portal that the provider shows, and only
there; killing one tgtd does not touch a session of the other; its volumes come back at the same
portal; after everything was stopped and started every volume is where it was; growing, detaching
and deleting reach the right one.
"""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import create, holdfast, iscsi_url, must, must_not, qemu_io, show  # noqa: E402
from story import check, wait_until  # noqa: E402

COUNT = 6
READ_ON_S = 3  # while the other is down and comes back


def check_places(lab, volumes):
    portals = lab.status()["portals"]
    at = {portal: [v for v in volumes if v["portal"] == portal] for portal in portals}
    check(all(len(found) == COUNT // 2 for found in at.values()),
          f"not spread: { {p: len(v) for p, v in at.items()} }")
    for number, volume in enumerate(volumes):
        other = next(p for p in portals if p != volume["portal"])
        must(volume, f"write -P {number + 1} 0 1M")
        must_not({**volume, "portal": other}, "read 0 4k")
    print(f"{COUNT} volumes, {COUNT // 2} at each portal and at no other")
    return at


class Session:
    """qemu-io that stays logged in, so that it tells whether its session was touched."""

    def __init__(self, volume):
        self.process = subprocess.Popen(["qemu-io", "-f", "raw", iscsi_url(volume)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def do(self, command):
        """Seconds it took."""
        began = time.monotonic()
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            check(line and "failed" not in line and "rror" not in line, f"{command}: {line!r}")
            if "ops;" in line:
                return time.monotonic() - began

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def check_kill(lab, at):
    (first, mine), (second, others) = at.items()
    number = lab.status()["portals"].index(first)
    name = "tgtd" if number == 0 else f"tgtd-{number + 1}"
    session = Session(others[0])
    session.do("write -P 9 4M 64k")
    pids = lab.status()["pids"]
    os.kill(pids[name], signal.SIGKILL)
    worst, end = 0, time.monotonic() + READ_ON_S
    while time.monotonic() < end:
        worst = max(worst, session.do("read -P 9 4M 64k"))
    check(worst < 1.0, f"a read of the other took {worst:.2f} s")
    wait_until("the killed one", lambda: qemu_io(mine[0], "read 0 4k")[0] == 0, 20)
    session.do("read -P 9 4M 64k")
    after = lab.status()["pids"]
    check(after[name] != pids[name], "the killed one is another process")
    check({k: v for k, v in after.items() if k != name} ==
          {k: v for k, v in pids.items() if k != name}, "another process was started again")
    session.end()
    for volume in mine + others:
        check(show(lab, volume)["portal"] == volume["portal"], "a volume moved")
    print(f"tgtd at {first} killed: a session at {second} read on, at worst in "
          f"{worst * 1000:.0f} ms; its volumes are back at their portal")


def check_restart(lab, volumes):
    lab.down()
    lab.up(with_parent=True)
    for number, volume in enumerate(volumes):
        wait_until("the volume", lambda v=volume: show(lab, v)["status"] == "available")
        check(show(lab, volume)["portal"] == volume["portal"], "a volume moved over a restart")
        must(volume, f"read -P {number + 1} 0 1M")
    print("after everything was stopped and started each is where it was")


def check_changes(lab, volumes):
    for volume in volumes[:2]:
        name = volume["volume_id"]
        lab.command("holdfast", "volume", "grow", name, "--size", "96MiB", "--wait")
        must(volume, "write -P 5 95M 1M")
        lab.command("holdfast", "volume", "detach", name, "--wait")
        must_not(volume, "read 0 4k")
        lab.command("holdfast", "volume", "attach", name, "--gateway", "lab", "--wait")
        must(volume, "read -P 5 95M 1M")
        lab.command("holdfast", "volume", "delete", name, "--wait")
        must_not(volume, "read 0 4k")
    for number, volume in enumerate(volumes[2:], 2):
        must(volume, f"read -P {number + 1} 0 1M")
    print("grow, detach, attach and delete reach the right one")


def main():
    with holdfast(tgtds=2) as lab:
        volumes = [create(lab, f"v{number}") for number in range(COUNT)]
        at = check_places(lab, volumes)
        check_kill(lab, at)
        check_restart(lab, volumes)
        check_changes(lab, volumes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
