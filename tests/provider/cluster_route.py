#!/usr/bin/python3 -B
"""Three provider processes on one PostgreSQL and three NATS nodes: whatever is asked of any of them
reaches the gateway wherever it is held; a lost hint costs a second and nothing else; when a holder
dies its gateways go on at another with a higher epoch (invariants 4, 5 and 6)."""

import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster, Daemon, epochs, swarm_at  # noqa: E402
from story import BIN, check, story, wait_until  # noqa: E402

GATEWAYS = 12
GATEWAY = "swarm-000003"
# Gateways stay where a test puts them.
STILL = {"rebalance_per_s": 0}


def change(provider, name, gateway=GATEWAY):
    """Creates a volume through this process; how long it took until it was available."""
    began = time.monotonic()
    volume = provider.must("volume", "create", "--gateway", gateway, "--name", name, "--size",
                           "64MiB", "--wait")
    check(volume["status"] == "available", f"{name} is {volume['status']}: {volume['reason']}")
    return time.monotonic() - began


def hints_travel(cluster):
    for provider in cluster.providers:
        wait_until(f"hints of {provider.address} travel",
                   lambda p=provider: p.must("info")["hints_travel"])


def asked_anywhere(folder):
    with Cluster(folder, **STILL) as cluster:
        one, two, three = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            hints_travel(cluster)
            took = [change(provider, f"v{number}")
                    for number, provider in enumerate(cluster.providers)]
            print(f"available {[round(t, 3) for t in took]} s after being asked for at the "
                  "processes; the second holds")
            holder = two.must("info")["process"]
            for provider in cluster.providers:
                seen = provider.must("volume", "list")
                check([(v["status"], v["gateway_connected"]) for v in seen] ==
                      [("available", True)] * 3, f"{provider.address} sees {seen}")
                gateways = provider.must("gateway", "list")
                check([(g["connected"], g["process"], g["process_endpoint"])
                       for g in gateways] == [(True, holder, two.channel)] * GATEWAYS, f"{provider.address} sees {gateways}")
            one.must("volume", "detach", "v0", "--wait")
            three.must("volume", "delete", "v0", "--wait")
            check(len(two.must("volume", "list")) == 2, "v0 is still there")
            check(one.ask("volume", "create", "--gateway", GATEWAY, "--name", "v1", "--size",
                          "64MiB")[0] != 0, "a name was given twice")
            two.stop(signal.SIGKILL)
            for provider in (one, three):
                wait_until(f"{provider.address} says that they are away", lambda p=provider:
                           not any(g["connected"] for g in p.must("gateway", "list")), 10)
        finally:
            swarm.stop()


def hints_lost(folder):
    with Cluster(folder, **STILL) as cluster:
        one, two, _ = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            hints_travel(cluster)
            cluster.nats.stop(0)
            change(one, "one-node-gone")
            cluster.nats.stop()
            wait_until("it is said", lambda: not one.must("info")["hints_travel"])
            slow = [change(one, f"no-hint-{i}") for i in range(3)]
            check(max(slow) < 4, f"without hints it took {slow} s")
            cluster.nats.start()
            hints_travel(cluster)
            quick = [change(one, f"hint-{i}") for i in range(3)]
            check(min(quick) < 0.5, f"with hints it took {quick} s")
            print(f"without hints {[round(t, 2) for t in slow]} s, "
                  f"with {[round(t, 2) for t in quick]} s")
        finally:
            swarm.stop()


def holder_killed(folder):
    with Cluster(folder, ping_interval_ms=1000, **STILL) as cluster:
        one, two, three = cluster.providers
        swarm = swarm_at(cluster, "swarm", cluster.providers, GATEWAYS)
        try:
            hints_travel(cluster)
            ids = {g["gateway_id"]: g for g in one.must("gateway", "list")}
            lost = one.must("info")["process"]
            held_there = [i for i, g in ids.items() if g["process"] == lost]
            check(0 < len(held_there) < GATEWAYS, f"{len(held_there)} are held by the first")
            one.stop(signal.SIGKILL)
            # One of them: it is commandable again as soon as another process holds it.
            change(two, "after", gateway=ids[held_there[0]]["name"])
            for provider in (two, three):
                wait_until("all are held elsewhere", lambda p=provider: all(
                    g["connected"] and g["process"] != lost for g in p.must("gateway", "list")))
            for i in held_there:
                seen = epochs(swarm, i.removeprefix("sgw-"))
                check(len(seen) > 1 and seen == sorted(set(seen)), f"epochs of {i}: {seen}")
            one.start().wait_ready()
            change(one, "back", gateway=ids[held_there[0]]["name"])
        finally:
            swarm.stop()


def half_open(folder):
    """The first machine hangs with its connection open: nobody learns that it is dead."""
    with Cluster(folder, **STILL) as cluster:
        one, two, three = cluster.providers
        first = swarm_at(cluster, "first", [two], GATEWAYS)
        second = None
        try:
            hints_travel(cluster)
            first.process.send_signal(signal.SIGSTOP)
            second = swarm_at(cluster, "second", [three], GATEWAYS)
            holder = three.must("info")["process"]
            for provider in cluster.providers:
                wait_until(f"{provider.address} knows who holds", lambda p=provider: all(
                    (g["connected"], g["process"]) == (True, holder)
                    for g in p.must("gateway", "list")))
            wait_until("the predecessors are ended",
                       lambda: two.must("info")["connections"] == 0)
            check(max(change(p, f"by-{i}") for i, p in enumerate(cluster.providers)) < 4, "slow")
            gateway = one.must("gateway", "show", GATEWAY)["gateway_id"].removeprefix("sgw-")
            check(epochs(second, gateway) > epochs(first, gateway), "the epoch did not rise")
        finally:
            first.process.send_signal(signal.SIGCONT)
            first.stop(signal.SIGKILL)
            if second:
                second.stop()


def activated_anywhere(folder):
    """The gateway shows its key at one process; the key is entered at the second, confirmed at the
    third."""
    with Cluster(folder, **STILL) as cluster:
        one, two, three = cluster.providers
        run, state = folder + "/gw-run", folder + "/gw-state"
        for path in (run, state):
            os.makedirs(path, mode=0o700)
        agent = Daemon("holdfast-agent", folder + "/agent", {
            "run_dir": run, "state_dir": state, "portal": "127.0.0.1:3260",
            "activation": one.settings["activation_listen"]}).start()
        try:
            def key():
                done = subprocess.run([BIN + "/holdfast-gateway", "activation", "--json",
                                       "--run-dir", run], capture_output=True, check=False)
                return done.returncode == 0 and json.loads(done.stdout).get("activation_key")
            two.must("gateway", "activate", wait_until("the key", key), "--name", "real")
            three.must("gateway", "confirm", "real", "--wait")
            for provider in cluster.providers:
                check(provider.must("gateway", "show", "real")["connected"], "it is away")
        finally:
            agent.stop()


if __name__ == "__main__":
    story([asked_anywhere, hints_lost, holder_killed, half_open, activated_anywhere])
