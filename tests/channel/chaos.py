#!/usr/bin/python3 -B
"""No command is lost, none is done twice, none from an old epoch has an effect (invariants 4, 5),
whatever dies, falls silent, comes late, twice or out of order, and whatever the clocks say: three
provider processes, PostgreSQL, three NATS nodes, simulated gateways (chaos_world.py) and whole ones
with tgtd, under faults (chaos_faults.py), while people go on changing things at whichever process
answers (chaos_people.py) and clients verify what they wrote.

Judged by those who saw the effects: the swarm's ledger, the supervisors that saw processes end,
initiators that see targets and sizes, the proxies that see who connects.

HF_SEED chooses the faults (default: 1), HF_CHAOS_SECONDS how long they go on (default: 25).
"""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from chaos_faults import Gateways, Networks, Processes, heal  # noqa: E402
from chaos_people import RESTARTS, Administrator, Operator  # noqa: E402
from chaos_world import MIB, World, newest_sizes  # noqa: E402
from harness import iscsi_url  # noqa: E402
from story import check, story, wait_until  # noqa: E402

SEED = int(os.environ.get("HF_SEED", "1"))
SECONDS = float(os.environ.get("HF_CHAOS_SECONDS", "25"))
WHOLE = 2
SETTLE_S = 120      # every wait and back-off


# ---- Simulated gateways, by their ledger ----

def check_ledger(swarm):
    """What each gateway did, in the order it did it: changes that were applied, promotions."""
    last, epochs, used, applied, promoted = {}, {}, set(), 0, 0
    for _, kind, gateway, highest, incarnation, generation, sequence, text in swarm.effects():
        if kind == "held":
            # One that a kill came before it was kept may be given again if nothing was done for it.
            check(highest > epochs.get(gateway, 0) - (gateway not in used),
                  f"{gateway} was held with an older epoch")
            epochs[gateway] = highest
            used.discard(gateway)
            promoted += incarnation  # from a standby
        elif kind == "applied":
            on, newest = (int(word.split("=")[1]) for word in text.split()[:2])
            now = (incarnation, generation)
            check(now > last.get(gateway, ((0, 0), 0))[0], f"{gateway} applied {now} again")
            check(sequence > last.get(gateway, ((0, 0), 0))[1], f"{gateway}: an older sequence")
            check(on == newest <= epochs[gateway], f"{gateway}: an effect of epoch {on}")
            last[gateway] = (now, sequence)
            used.add(gateway)
            applied += 1
        elif kind == "acts":
            check(text == f"on={epochs.get(gateway)}", f"{gateway}: begun for an epoch: {text}")
            used.add(gateway)
    return applied, promoted


def check_runs(world, administrator):
    """Each restart that was accepted happened, and each once."""
    begun, acted, runs = set(), {}, {}
    for time_us, kind, gateway, _, action, run, _, _ in world.swarm.effects():
        if kind == "acts":
            check(action not in begun, f"{gateway} began {action} twice")
            begun.add(action)
        elif kind == "acted":
            check(action not in acted, f"{action} had two effects")
            check(run > runs.get(gateway, 0), f"{gateway}: {run} after {runs.get(gateway)}")
            acted[action] = (gateway, time_us)
        if kind in ("acted", "ran"):
            runs[gateway] = run
    for number, gateway in world.simulated.items():
        name = f"swarm-{number:06}"
        known = ended_actions(world.cluster.providers[0], name)
        done = {int(a.removeprefix("act-"), 16) for a, (_, state) in known.items()
                if state == "done"}
        mine = {a: time_us for a, (g, time_us) in acted.items() if g == gateway}
        unknown = [a for a, time_us in mine.items() if a not in done]
        # Its answer may have come after the backup: what is done already is refused then.
        refused = {int(a.removeprefix("act-"), 16) for a, (_, state) in known.items()
                   if state == "refused" and world.older_us}
        unasked = [a for a in unknown if a not in refused and not world.forgotten(mine[a])]
        check(not unasked, f"{name}: done unasked: {unasked}")
        promised = {int(a.removeprefix("act-"), 16)
                    for a in administrator.accepted["restart"][number]}
        lost = promised - done - set(unknown)
        check(not lost, f"{name}: accepted and not done: {lost} of {known}")
        # A kill between an effect and its line costs the line.
        count = len(done | set(unknown))
        check(runs.get(gateway, 0) == count, f"{name}: {count} done, run {runs.get(gateway)}")
    return sum(runs.values())


def ended_actions(provider, gateway):
    """Its actions once all have ended: number: (kind, state)."""
    known = {}

    def all_ended():
        known.update({a["action_id"]: (a["kind"], a["state"]) for a in provider.must(
            "action", "list", "--gateway", gateway)})
        return all(state not in ("requested", "stored", "sent") for _, state in known.values())
    wait_until(f"the actions of {gateway}", all_ended, SETTLE_S)
    return known


def check_simulated(world, administrator):
    def all_arrived():
        sizes = newest_sizes(world.swarm)
        return all(sizes[world.simulated[n]] >= size
                   for n, size in administrator.accepted["size"].items())
    wait_until("every change that was accepted", all_arrived, SETTLE_S)
    for number, gateway in world.simulated.items():
        shown = world.cluster.providers[-1].must("volume", "show", f"v{number}")
        wait_until(f"v{number} as the registry has it", lambda g=gateway, s=shown["size_bytes"]:
                   newest_sizes(world.swarm)[g] == s, SETTLE_S)
    applied, promoted = check_ledger(world.swarm)
    check(all(any(promised.values()) for promised in administrator.accepted.values()),
          "nothing was accepted")
    print(f"simulated: {administrator.asked} commands asked for, {applied} changes applied, "
          f"{check_runs(world, administrator)} restarts done, {promoted} promotions")


# ---- Whole gateways, by what others see of them ----

def check_restarts(world, operator):
    """Each that was accepted happened, and each once."""
    gateway = operator.gateway
    known_all = ended_actions(world.cluster.providers[1], gateway.name)
    for kind, part in RESTARTS.items():
        known = {a: state for a, (k, state) in known_all.items() if k == kind}
        refused = sum(state == "refused" for state in known.values()) if world.older_us else 0
        lost = [a for a in operator.accepted[kind]
                if known.get(a) not in ("done", "refused" if refused else "done")]
        check(not lost, f"{gateway.name}: accepted and not done: {lost} of {known}")
        done = sum(state == "done" for state in known.values())
        check(done <= operator.tried[kind], f"{gateway.name}: {done} {kind} were not asked for")
        killed, ended = gateway.ended(part)
        print(f"{gateway.name}: {operator.tried[kind]} {kind} asked for, {done} done; {part} "
              f"ended {ended} times, and {killed} times killed")
        most = done + refused + operator.forgiven[kind]
        check(ended <= most, f"{gateway.name}: {part} ended {ended} times for {most} {kind}")
        check(ended + killed >= done, f"{gateway.name}: {done} {kind}, {part} ended {ended} times")


def size_at_portal(volume):
    done = subprocess.run(["qemu-img", "info", "-f", "raw", "--output=json", iscsi_url(volume)],
                          capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout)["virtual-size"] if done.returncode == 0 else None


def check_volumes(world, operator):
    gateway, provider = operator.gateway, world.cluster.providers[2]
    check(world.older_us or provider.must(
        "volume", "show", gateway.name + "-grown")["size_bytes"] >= operator.accepted["size"],
          f"{gateway.name}: a growth was lost")
    operator.size += MIB  # a database that is older may have a size from before
    provider.must("volume", "grow", gateway.name + "-grown", "--size", str(operator.size))
    grown = provider.must("volume", "show", gateway.name + "-grown")
    wait_until(f"the size of {gateway.name}-grown",
               lambda: size_at_portal(grown) == grown["size_bytes"], SETTLE_S)
    wanted = sorted(provider.must("volume", "show", f"{gateway.name}-{name}")["target"]
                    for name in ("used", "grown"))
    check(gateway.targets() == wanted, f"{gateway.name}: {gateway.targets()} are served")


def network_is(world, gateway, state):
    """As its holder tells, and connected by the settings that are to be in force."""
    told = [(world.ask(number, "gateway", "show", gateway.name) or {}).get("network_state")
            for number in range(3)]
    return state in told and gateway.looked("connection_endpoint") in \
        [proxy.endpoint for proxy in world.others]


def check_network(world, operator):
    """Settings that work stay; others are taken back, and what was before works."""
    gateway = operator.gateway
    check(operator.set_network([p.endpoint for p in world.others], 30) is not None, "refused")
    wait_until("the settings are confirmed", lambda: network_is(world, gateway, "confirmed"), 60)
    check(operator.set_network(["127.0.0.1:1", "127.0.0.2:1"], 2) is not None, "refused")
    wait_until("the settings are rolled back",
               lambda: network_is(world, gateway, "rolled back"), 60)
    check(any(proxy.count() for proxy in world.others), "nobody came that way")


def check_whole(world, operator, client):
    gateway = operator.gateway
    check_restarts(world, operator)
    check_volumes(world, operator)
    check_network(world, operator)
    epochs = gateway.epochs()
    check(epochs == sorted(set(epochs)), f"{gateway.name}: epochs went back: {epochs}")
    seen = client.check(last=True)
    check(client.process.wait(30) == 0, "the client ended with a failure")
    print(f"{gateway.name}: held {len(epochs)} times, {gateway.promotions()} by promotion; its "
          f"client verified {seen['writes']} writes, {seen['reads']} reads, longest "
          f"{seen['worst_ms']} ms")


def nothing_is_lost_or_done_twice(folder):
    with World(folder, SEED, WHOLE) as world:
        print(f"seed {SEED}; ready", flush=True)
        administrator = Administrator(world)
        operators = [Operator(world, gateway) for gateway in world.whole]
        world.wait_settled(SETTLE_S)
        world.people = [administrator, *operators]
        for person in world.people:
            person.start()
        lanes = [lane(world, SECONDS) for lane in (Processes, Networks, Gateways)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.finish()
        heal(world)
        began = time.monotonic()
        for person in world.people:
            person.finish()
        world.wait_settled(SETTLE_S)
        print(f"settled after {time.monotonic() - began:.1f} s", flush=True)
        check_simulated(world, administrator)
        for operator, client in zip(operators, world.clients):
            check_whole(world, operator, client)
        check(world.hints.replayed > 0, "no hint was said again")
        print(f"{world.hints.replayed} hints said again")


if __name__ == "__main__":
    story([nothing_is_lost_or_done_twice])
