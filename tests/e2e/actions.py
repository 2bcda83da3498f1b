#!/usr/bin/python3 -B
"""One-shot actions on a whole gateway, while its agent and the provider are killed.

Promises (invariant 4): each restart that was accepted happens, and happens once, by what the
supervisor saw end, not by any journal; the gateway serves the same bytes afterwards; a diagnosis
comes back; a dry run tells the steps and takes none. HF_SEED for the choices.
"""

import json
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import LabError, create, holdfast, must, qemu_io, show  # noqa: E402
from story import check, wait_until  # noqa: E402

ROUNDS = 6
KILL_WITHIN_S = 0.8


def ended(lab):
    """How often each process has ended so far, as its supervisor tells."""
    with open(os.path.join(lab.layout.path("log"), "supervisor.log"), encoding="utf-8") as log:
        names = re.findall(r"^(\S+) \d+ ended with", log.read(), re.M)
    return {name: names.count(name) for name in set(names)}


def act(lab, kind, *options):
    """Asks until the provider answers; the action."""
    answer = []

    def asked():
        try:
            answer.append(lab.ask("holdfast", "gateway", "act", "lab", kind, *options))
        except LabError as e:
            print(f"not accepted: {str(e).strip().splitlines()[-1]}")
        return answer

    wait_until(f"{kind} is accepted", asked, 30)
    return answer[0]["action_id"]


def states(lab):
    return {a["action_id"]: a["state"] for a in lab.ask("holdfast", "action", "list")}


def kill_some(lab, random_):
    for name in random_.sample(["holdfast-agent", "holdfast-provider"], random_.randint(1, 2)):
        time.sleep(random_.uniform(0, KILL_WITHIN_S))
        pid = lab.status()["pids"].get(name)
        if pid:
            os.kill(pid, signal.SIGKILL)


def all_done(lab, wanted):
    try:
        now = states(lab)
    except (LabError, json.JSONDecodeError):
        return False
    check(all(now.get(a) in ("requested", "stored", "sent", "done") for a in wanted),
          f"an action ended otherwise: {now}")
    return all(now.get(a) == "done" for a in wanted)


def check_restarts(lab, volume, random_):
    wanted = {"restart-target": [], "restart-volumed": []}
    before = ended(lab)
    for _ in range(ROUNDS):
        kind = random_.choice(list(wanted))
        wanted[kind].append(act(lab, kind))
        kill_some(lab, random_)
    every = sum(wanted.values(), [])
    wait_until("all are done", lambda: all_done(lab, every), 120)
    after = ended(lab)
    for kind, process in (("restart-target", "tgtd"), ("restart-volumed", "holdfast-volumed")):
        count = after.get(process, 0) - before.get(process, 0)
        print(f"{len(wanted[kind])} {kind}: {process} ended {count} times")
        check(count == len(wanted[kind]), f"{process} ended {count} times")
    deaths = {name: after.get(name, 0) - before.get(name, 0)
              for name in ("holdfast-agent", "holdfast-provider")}
    print(f"meanwhile died: {deaths}")
    check(sum(deaths.values()) > ROUNDS / 2, "too few were killed")
    wait_until("the LUN", lambda: qemu_io(volume, "read -P 7 0 1M")[0] == 0, 30)


def check_looks(lab):
    found = lab.ask("holdfast", "gateway", "act", "lab", "diagnose", "--wait")
    check("tgtd 1: answers" in found["report"] and "volumed: answers" in found["report"],
          f"the report: {found['report']}")
    plan = lab.ask("holdfast", "volume", "create", "--gateway", "lab", "--name", "never", "--size",
                   "64MiB", "--dry-run")["plan"]
    check([p["steps"] for p in plan] == [["attach", "create target", "set access", "add LUN"]],
          f"the plan: {plan}")
    check([v["name"] for v in lab.ask("holdfast", "volume", "list")] == ["data"],
          "the dry run made a volume")
    check(lab.ask("holdfast", "gateway", "plan", "lab")["plan"] == [], "there is nothing to do")


def main():
    seed = int(os.environ.get("HF_SEED", time.time_ns() % 1000000))
    print(f"seed {seed}")
    with holdfast() as lab:
        volume = create(lab, "data")
        must(volume, "write -P 7 0 1M")
        check_looks(lab)
        check_restarts(lab, volume, random.Random(seed))
        check(show(lab, volume)["status"] == "available", "the volume is available")
    return 0


if __name__ == "__main__":
    sys.exit(main())
