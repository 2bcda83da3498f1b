#!/usr/bin/python3 -B
"""Several provider processes on one PostgreSQL, and real agents: a gateway has a standby at another
process, and is commandable again at once when its holder is killed, and after at most two and a half
ping intervals when its holder only falls silent; a holder that comes back late has no say; a process
that stops sends its gateways away without a moment in which one cannot be commanded; one that joins
gets its share (invariants 5 and 6)."""

import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster, Daemon, Provider  # noqa: E402
from story import BIN, check, free_ports, story, wait_until  # noqa: E402

SETTINGS = {"ping_interval_ms": 1000, "standby_spread_ms": 100, "drain_window_ms": 1500,
            "reconnects_per_minute": 0}


class Gateway:
    """A real agent without a data plane."""

    def __init__(self, cluster, name):
        self.name, self.cluster = name, cluster
        self.folder = f"{cluster.folder}/{name}"
        for part in ("run", "state"):
            os.makedirs(f"{self.folder}/{part}", mode=0o700)
        self.agent = Daemon("holdfast-agent", self.folder, {
            "run_dir": self.folder + "/run", "state_dir": self.folder + "/state",
            "activation": cluster.providers[0].settings["activation_listen"],
            "portal": f"127.0.0.1:{free_ports(1)[0]}"}).start()

    def status(self):
        done = subprocess.run([BIN + "/holdfast-gateway", "status", "--json"], check=False,
                              capture_output=True, text=True, timeout=20,
                              env={**os.environ,
                                   "HOLDFAST_GATEWAY_RUN": self.folder + "/run"})
        return (json.loads(done.stdout)["agent"] if done.stdout.strip() else None) or {}

    def join(self):
        wait_until("a key is shown", lambda: self.status().get("activation_key"))
        provider = self.cluster.providers[0]
        provider.must("gateway", "activate", self.status()["activation_key"], "--name", self.name)
        provider.must("gateway", "confirm", self.name, "--wait")
        return self

    def holder(self):
        """The process that it is connected to; None: it is not."""
        status = self.status()
        if status["connection_state"] != "held":
            return None
        return next((p for p in self.cluster.providers
                     if p.channel == status["connection_endpoint"]), None)

    def standby(self):
        endpoint = self.status()["standby_endpoint"]
        return next((p for p in self.cluster.providers if p.channel == endpoint), None)

    def settled(self):
        holder, standby = self.holder(), self.standby()
        return holder and standby and holder is not standby

    def epochs(self):
        """When each epoch was held, as the agent's log says."""
        with open(self.agent.log, encoding="utf-8") as file:
            return [int(m.group(1)) for m in re.finditer(r"with epoch (\d+)", file.read())]


def change_reaches(provider, gateway, name):
    """A change of desired state made here is at the gateway; the seconds that it took."""
    began = time.monotonic()
    before = gateway.status()["generation"]
    provider.must("volume", "create", "--gateway", gateway.name, "--name", name, "--size", "64MiB")
    wait_until(f"{name} is at {gateway.name}",
               lambda: gateway.status().get("generation", 0) > before)
    return time.monotonic() - began


def see_each_other(cluster):
    for provider in cluster.providers:
        wait_until("the processes see each other", lambda p=provider: len(
            p.must("info")["processes"]) == len(cluster.providers) - 1)


def gateways_of(cluster, count):
    see_each_other(cluster)
    gateways = [Gateway(cluster, f"gw-{number}") for number in range(count)]
    for gateway in gateways:
        gateway.join()
    for gateway in gateways:
        wait_until(f"{gateway.name} has a standby", gateway.settled)
    return gateways


def killed_holder(folder):
    with Cluster(folder, nodes=1, **SETTINGS) as cluster:
        gateway = gateways_of(cluster, 1)[0]
        for turn in range(3):
            holder, standby = gateway.holder(), gateway.standby()
            began = time.monotonic()
            holder.stop(signal.SIGKILL)
            wait_until("the standby holds", lambda s=standby: gateway.holder() is s)
            took = time.monotonic() - began
            took_all = change_reaches(standby, gateway, f"v{turn}") + took
            print(f"held again {took:.2f} s after kill -9, a change was there after {took_all:.2f} s")
            check(took < 2, f"the standby held after {took} s")
            holder.start()
            holder.wait_ready()
            wait_until("it has a standby again", gateway.settled)
        epochs = gateway.epochs()
        check(epochs == sorted(set(epochs)), f"epochs went back: {epochs}")
        gateway.agent.stop()


def silent_holder(folder):
    with Cluster(folder, nodes=1, **SETTINGS) as cluster:
        gateway = gateways_of(cluster, 1)[0]
        holder, standby = gateway.holder(), gateway.standby()
        began = time.monotonic()
        os.kill(holder.process.pid, signal.SIGSTOP)
        wait_until("the standby holds", lambda: gateway.holder() is standby)
        took = time.monotonic() - began
        print(f"held again {took:.2f} s after its holder fell silent (ping interval 1 s)")
        check(took < 4, f"the standby held after {took} s")
        check(change_reaches(standby, gateway, "v0") < 2, "the silent holder held up a change")
        os.kill(holder.process.pid, signal.SIGCONT)
        change_reaches(standby, gateway, "v1")
        wait_until("it has a standby again", gateway.settled)
        check(gateway.holder() is standby, "the late holder took the gateway back")
        gateway.agent.stop()


def drained(folder):
    with Cluster(folder, nodes=1, **SETTINGS) as cluster:
        gateways = gateways_of(cluster, 4)
        leaving = gateways[0].holder()
        leaving.stop(signal.SIGTERM)  # waits for its end, and for status 0
        check(leaving.said("drained, 0 connections are left"), "somebody was left behind")
        for number, gateway in enumerate(gateways):
            check(gateway.holder() not in (None, leaving), f"{gateway.name} is not held")
            check(not gateway.agent.said("is not reached"), f"{gateway.name} was without holder")
            other = next(p for p in cluster.providers if p is not leaving)
            change_reaches(other, gateway, f"v{number}")
        for gateway in gateways:
            gateway.agent.stop()


def joined(folder):
    with Cluster(folder, count=2, nodes=1, **SETTINGS) as cluster:
        gateways = gateways_of(cluster, 9)
        late = Provider(cluster, 2).start()
        cluster.providers.append(late)
        late.wait_ready()

        def shares():
            return sorted(sum(g.holder() is p for g in gateways) for p in cluster.providers)
        # Who has just come is left alone for ten seconds.
        wait_until("each holds three", lambda: shares() == [3, 3, 3], 60)
        connections = [len(g.epochs()) for g in gateways]
        for gateway in gateways:
            wait_until("it has a standby again", gateway.settled)
        check([len(g.epochs()) for g in gateways] == connections and shares() == [3, 3, 3],
              "gateways moved on")
        check(sum(connections) <= 9 + 6, f"gateways were held {connections} times")
        for gateway in gateways:
            gateway.agent.stop()


def endpoints_kept(folder):
    """The gateway knows one process from its activation, and the others from that one."""
    cluster = Cluster(folder, nodes=1, **SETTINGS)
    for provider in cluster.providers:
        provider.configure({**provider.settings, "channel_advertise": provider.channel})
    with cluster:
        gateway = gateways_of(cluster, 1)[0]
        gateway.agent.stop()
        cluster.providers[0].stop(signal.SIGKILL)
        gateway.agent.start()
        wait_until("it is held by a process that it was told of",
                   lambda: gateway.holder() in cluster.providers[1:])
        change_reaches(cluster.providers[1], gateway, "v0")
        gateway.agent.stop()


def revoked_everywhere(folder):
    """A revocation that is said to a process without any connection of the gateway ends the held one
    and the parked one, at two others, within 3 s; also while no hints travel. The other gateway does
    not notice."""
    with Cluster(folder, nodes=1, rebalance_per_s=0, **SETTINGS) as cluster:
        first, second, stays = gateways_of(cluster, 3)

        def connections():
            return sum(p.must("info")["connections"] for p in cluster.providers)
        wait_until("a held and a parked connection each", lambda: connections() == 6)
        epochs, left = stays.epochs(), 6
        for gateway, hints in ((first, True), (second, False)):
            if not hints:
                cluster.nats.stop()
                for provider in cluster.providers:
                    wait_until("no hints travel",
                               lambda p=provider: not p.must("info")["hints_travel"])
            asked = next(p for p in cluster.providers
                         if p not in (gateway.holder(), gateway.standby()))
            began = time.monotonic()
            asked.must("gateway", "revoke", gateway.name)
            left -= 2
            wait_until("both its connections are gone", lambda n=left: connections() == n, 10)
            took = time.monotonic() - began
            print(f"all connections gone {took:.2f} s after the revocation"
                  f"{'' if hints else ', without hints'}")
            check(took < 3, f"it took {took} s")
            wait_until("its owner learns why",
                       lambda g=gateway: "revoked" in g.status().get("last_error", ""))
            check(gateway.holder() is None, f"{gateway.name} is held")
        check(stays.settled() and stays.epochs() == epochs, "the other one was disturbed")
        for gateway in (first, second, stays):
            gateway.agent.stop()


if __name__ == "__main__":
    story([killed_holder, silent_holder, drained, joined, endpoints_kept, revoked_everywhere])
