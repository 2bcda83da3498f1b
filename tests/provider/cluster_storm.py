#!/usr/bin/python3 -B
"""Real processes under what does not go well: a flood of connections that never finish their
handshake, at both ports, costs bounded memory and keeps nobody out; a process that is full sends
gateways elsewhere; one that stops in the middle of changes loses none of them; one that joins gets
its share, until no two differ by a tenth (invariants 5, 6, 9)."""

import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
import swarm  # noqa: E402
from cluster import Cluster, Provider, swarm_at  # noqa: E402
from story import check, free_ports, story, wait_until  # noqa: E402

# The beginning of a ClientHello, which is never followed by its end.
HALF_HELLO = bytes.fromhex("16030102000100") + bytes(40)
FLOOD_S = 8
# 64 handshakes of the one port, 256 of the other, and what they leave in the allocator.
GROWTH_KIB = 32 << 10


def more_gateways(cluster, name, providers, begin, count, *options):
    gateways = swarm.Swarm(f"{cluster.folder}/{name}", cluster.folder + "/identities",
                           [p.channel for p in providers], "--from", begin, "--count", count,
                           *options)
    gateways.start()
    return gateways


def change(provider, gateway, name):
    began = time.monotonic()
    volume = provider.must("volume", "create", "--gateway", gateway, "--name", name, "--size",
                           "64MiB", "--wait")
    check(volume["status"] == "available", f"{name} is {volume['status']}: {volume['reason']}")
    return time.monotonic() - began


class Flood:
    """Connects as fast as it is let, says little or nothing, and stays."""

    def __init__(self, addresses):
        self.stop, self.made, self.open = False, 0, []
        self.threads = [threading.Thread(target=self.run, args=(a, n % 2)) for n, a in
                        enumerate(addresses * 2)]
        for thread in self.threads:
            thread.start()

    def run(self, address, speaks):
        host, port = address.rsplit(":", 1)
        while not self.stop and len(self.open) < 3000:
            try:
                s = socket.create_connection((host, int(port)), 1)
                if speaks:
                    s.sendall(HALF_HELLO)
            except OSError:
                continue
            self.made += 1
            self.open.append(s)

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()
        for s in self.open:
            s.close()


def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def flooded(folder):
    port = free_ports(1)[0]
    with Cluster(folder, count=1, nodes=0, route="local", handshakes_max=64,
                 metrics_listen=f":{port}") as cluster:
        one = cluster.providers[0]
        swarm.prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], 50, 5,
                      folder + "/identities")
        first = more_gateways(cluster, "first", [one], 0, 40)
        first.wait("they are held", held=40)
        before = swarm.memory_kib(one.process.pid)
        flood = Flood([one.channel, one.settings["activation_listen"]])
        late = None
        try:
            wait_until("the flood is there", lambda: flood.made > 500, 30)
            late = more_gateways(cluster, "late", [one], 40, 10)
            end, slowest, turn, most = time.monotonic() + FLOOD_S, 0, 0, 0
            while time.monotonic() < end:
                slowest = max(slowest, change(one, f"swarm-{turn % 40:06d}", f"v{turn}"))
                most = max(most, swarm.memory_kib(one.process.pid))
                turn += 1
            late.wait("those who come meanwhile are held", 60, held=10)
            print(f"{flood.made} connections flooded in; {turn} changes, the slowest "
                  f"{slowest:.2f} s; memory grew by {most - before} KiB of {before}")
            check(most - before < GROWTH_KIB, f"memory grew by {most - before} KiB")
            check(slowest < 3, f"a change took {slowest:.2f} s")
            check(first.status["ended"] == 0, "somebody was lost")
        finally:
            flood.end()
            first.stop()
            if late:
                late.stop()
        ended = metric(port, "holdfast_provider_handshakes_total{result=\"failed\"}") + metric(
            port, "holdfast_provider_handshakes_total{result=\"crowded_out\"}")
        check(ended > 0, "no handshake is counted as failed")
        with open(one.log, encoding="utf-8") as file:
            reasons = {re.sub(r"[0-9.:]+", "N", line.split(": ", 1)[1]) for line in file
                       if "refused" in line or "handshake" in line}
        print(f"the log says: {sorted(reasons)[:3]}")
        check(reasons, "the log does not say why they were ended")


def full(folder):
    with Cluster(folder, count=2, nodes=0, route="local", rebalance_per_s=0) as cluster:
        one, two = cluster.providers
        one.stop()
        one.configure({**one.settings, "capacity": 6})
        one.start().wait_ready()
        wait_until("they see each other", lambda: one.must("info")["processes"])
        gateways = swarm_at(cluster, "swarm", [one, two], 30)
        try:
            held = [p.must("info")["held"] for p in (one, two)]
            check(sum(held) == 30 and held[0] <= 6, f"held: {held}")
            wait_until("it says so", lambda: one.said("this process is full"))
        finally:
            gateways.stop()


def drained_in_the_middle(folder):
    with Cluster(folder, nodes=1, drain_window_ms=2000, rebalance_per_s=0) as cluster:
        one, two, three = cluster.providers
        for p in cluster.providers:
            wait_until("they see each other", lambda q=p: len(q.must("info")["processes"]) == 2)
        swarm.prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], 12, 5,
                      folder + "/identities")
        gateways = more_gateways(cluster, "swarm", [two, three], 0, 12, "--standby")
        gateways.wait("all are held", held=12)
        took, failed = [], []

        def changes(number):
            for turn in range(4):
                try:
                    took.append(change(one, f"swarm-{number:06d}", f"v{number}-{turn}"))
                except Exception as error:  # pylint: disable=broad-except
                    failed.append(str(error))
        threads = [threading.Thread(target=changes, args=(n,)) for n in range(0, 12, 2)]
        try:
            for thread in threads:
                thread.start()
            wait_until("changes are under way", lambda: took)
            two.stop(signal.SIGTERM)
            for thread in threads:
                thread.join()
            check(not failed and len(took) == 24, f"lost: {failed}")
            check(two.said("drained, 0 connections are left"), "somebody was left behind")
            print(f"24 changes around a drain, the slowest {max(took):.2f} s")
        finally:
            for thread in threads:
                thread.join()
            gateways.stop()


def joined(folder):
    with Cluster(folder, count=2, nodes=0, route="local") as cluster:
        late = Provider(cluster, 2)
        cluster.providers.append(late)
        gateways = swarm_at(cluster, "swarm", cluster.providers, 120)
        try:
            late.start().wait_ready()

            def differ():
                held = [p.must("info")["held"] for p in cluster.providers]
                return sum(held) == 120 and (max(held) - min(held)) * 10 < max(held)
            began = time.monotonic()
            wait_until("no two differ by a tenth", differ, 90)
            print(f"120 gateways shared among three {time.monotonic() - began:.1f} s after one "
                  f"joined: {[p.must('info')['held'] for p in cluster.providers]}")
        finally:
            gateways.stop()


if __name__ == "__main__":
    story([flooded, full, drained_in_the_middle, joined])
