#!/usr/bin/python3 -B
"""kill -9 of one process at random moments under a writing client that verifies.

Promise (invariants 1 and 2): no acknowledged write is lost, no request of a surviving tgtd is
executed twice, and no session is lost except when it is tgtd that dies. Prints what each round saw.
At the end the volume is rebuilt from the object store alone and must equal what the client read
last. Usage: kill_rounds.py volumed|agent|provider|tgtd [--rounds N] [--seed S]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import (LabError, create, holdfast, iscsi_url, show,  # noqa: E402
                     wait_for_recovery_point, wait_until)
from iscsi_client import Verifier  # noqa: E402

KILL_AFTER_S = (0.02, 0.6)  # of load


def kill_and_wait_for_restart(lab, name):
    pid = lab.status()["pids"][name]
    os.kill(pid, signal.SIGKILL)
    wait_until(f"{name} to be started again",
               lambda: lab.status()["pids"].get(name, pid) != pid, 10)


def read_volume(volume, path):
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", iscsi_url(volume), path],
                   check=True)


def memory_tier_hits(lab):
    status = {}

    def answers():
        try:
            status.update(lab.ask("holdfast-gateway", "status"))
        except LabError:  # an agent that was just killed needs a moment
            return False
        return status.get("volumed")
    wait_until("the gateway's status", answers)
    return sum(volume["memory_tier_hits"] for volume in status["volumed"]["volumes"])


def run(lab, process, rounds, rng):
    name = process if process == "tgtd" else "holdfast-" + process
    volume = create(lab, "crash", "16MiB")
    client = Verifier(volume, "reconnect" if process == "tgtd" else "keep")
    client.check()
    total = {"writes": 0, "reads": 0, "compare_and_writes": 0}
    from_memory = 0
    for number in range(1, rounds + 1):
        after_s = rng.uniform(*KILL_AFTER_S)
        time.sleep(after_s)  # the random moment itself, not a wait for something
        from_memory = max(from_memory, memory_tier_hits(lab))
        kill_and_wait_for_restart(lab, name)
        seen = client.check()
        for key in total:
            total[key] += seen[key]
        print(f"round {number:2}: {name} killed after {after_s:.3f} s of load; "
              f"{seen['writes']} writes, {seen['reads']} reads, "
              f"{seen['compare_and_writes']} compare and writes verified "
              f"({seen['uncertain']} issued anew), longest {seen['worst_ms']} ms, "
              f"sessions lost so far {seen['sessions_lost']}", flush=True)
    client.check(last=True)
    if client.process.wait(30) != 0:
        raise LabError("the client ended with a failure")
    if total["writes"] < rounds or total["compare_and_writes"] < rounds:
        raise LabError(f"too little happened to prove anything: {total}")
    if from_memory == 0:
        raise LabError("tgtd answered nothing from memory")
    compare_with_store(lab, volume)
    print(f"{rounds} rounds of {name}: {total}, up to {from_memory} reads from memory "
          "between two kills, no violation; the object store alone holds the same bytes")


def compare_with_store(lab, volume):
    last, rebuilt = lab.layout.path("last"), lab.layout.path("rebuilt")
    # A gateway whose agent was just killed needs a moment until the volume is up again.
    wait_until("the volume", lambda: show(lab, volume)["status"] == "available")
    read_volume(volume, last)
    wait_for_recovery_point(lab, volume)
    lab.down()
    lab.command("holdfast-gateway", "export", volume["volume_id"], rebuilt,
                "--store", lab.store["url"], "--key", os.path.join(
                    lab.layout.path("gateway", "volumed", "keys"), volume["volume_id"] + ".key"))
    subprocess.run(["cmp", last, rebuilt], check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("process", choices=("volumed", "agent", "provider", "tgtd"))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    try:
        with holdfast() as lab:
            run(lab, args.process, args.rounds, random.Random(args.seed))
    except (LabError, subprocess.SubprocessError) as e:
        print(f"FAILED: {e}; seed {args.seed}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
