#!/usr/bin/python3 -B
"""No command is lost, none is done twice, none from an old epoch has an effect (invariants 4, 5),
whatever dies or falls silent: three provider processes, PostgreSQL, three NATS nodes, and simulated
gateways that reach them through proxies of our own. Processes get kill -9, networks are cut or fall
silent, the database and the nodes stop, hang and come back, while an administrator goes on changing
things at whichever process answers. Judged by the swarm's ledger alone.

HF_SEED chooses the faults (default: 1), HF_CHAOS_SECONDS how long they go on (default: 40).
"""

import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import Cluster  # noqa: E402
from fault_proxy import FaultProxy  # noqa: E402
from story import Failure, check, story, wait_until  # noqa: E402
from swarm import Swarm, prepare  # noqa: E402

SEED = int(os.environ.get("HF_SEED", "1"))
SECONDS = float(os.environ.get("HF_CHAOS_SECONDS", "40"))
GATEWAYS = 40
CHANGED = 8         # of them have a volume
STEP = 1 << 20
FIRST = 64 << 20
SETTLE_S = 120      # every wait and back-off


class Administrator(threading.Thread):
    """Grows volumes in turn, each at a process chosen by chance. `accepted` is what was promised."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.rng, self.stopping = cluster, random.Random(SEED + 1), False
        self.accepted, self.asked = {}, 0

    def ask(self, *arguments):
        try:
            return self.rng.choice(self.cluster.providers).ask(*arguments, timeout=20)[0] == 0
        except Exception:  # pylint: disable=broad-except
            return False  # it died over the question: nothing was promised

    def run(self):
        sizes = dict.fromkeys(range(CHANGED), FIRST)
        while not self.stopping:
            number = self.rng.randrange(CHANGED)
            sizes[number] += STEP
            self.asked += 1
            if self.ask("volume", "grow", f"v{number}", "--size", str(sizes[number])):
                self.accepted[number] = sizes[number]


class Chaos:
    def __init__(self, cluster, proxies, swarm):
        self.cluster, self.proxies, self.swarm = cluster, proxies, swarm
        self.rng = random.Random(SEED)

    def provider_dies(self):
        provider = self.rng.choice(self.cluster.providers)
        provider.stop(signal.SIGKILL)
        yield
        provider.start()

    def database_stops(self):
        self.cluster.postgres.stop(self.rng.choice([signal.SIGINT, signal.SIGQUIT]))
        yield
        self.cluster.postgres.start()

    def database_hangs(self):
        self.cluster.postgres.hang()
        yield
        self.cluster.postgres.hang(False)

    def node_dies(self):
        node = self.rng.randrange(3)
        self.cluster.nats.stop(node)
        yield
        self.cluster.nats.start(node)

    def network_is_cut(self):
        proxy = self.rng.choice(self.proxies)
        proxy.refusing = True
        proxy.cut()
        yield
        proxy.refusing = False

    def network_falls_silent(self):
        proxy = self.rng.choice(self.proxies)
        proxy.silent = True
        yield
        yield
        yield
        proxy.silent = False

    def gateways_die(self):
        self.swarm.stop(signal.SIGKILL)
        yield
        self.swarm.start()

    def run(self):
        until, done = time.monotonic() + SECONDS, []
        while time.monotonic() < until:
            fault = self.rng.choice([
                self.provider_dies, self.provider_dies, self.database_stops, self.database_hangs,
                self.node_dies, self.network_is_cut, self.network_falls_silent,
                self.network_falls_silent, self.gateways_die])
            done.append(fault.__name__)
            for _ in fault():
                time.sleep(self.rng.uniform(0.3, 1.5))  # how long it lasts
        return done


def check_ledger(swarm):
    """What each gateway did, in the order it did it."""
    last, epochs, applied = {}, {}, 0
    for _, kind, gateway, highest, incarnation, generation, sequence, text in swarm.effects():
        if kind == "held":
            check(highest > epochs.get(gateway, 0), f"{gateway} was held with an older epoch")
            epochs[gateway] = highest
        elif kind == "applied":
            on = int(text.split()[0].removeprefix("on="))
            now = (incarnation, generation)
            check(now > last.get(gateway, ((0, 0), 0))[0], f"{gateway} applied {now} again")
            check(sequence > last.get(gateway, ((0, 0), 0))[1], f"{gateway}: an older sequence")
            check(on == epochs.get(gateway), f"{gateway}: an effect of epoch {on}")
            last[gateway] = (now, sequence)
            applied += 1
    return applied


def newest_sizes(swarm):
    sizes = {}
    for _, kind, gateway, _, _, _, _, text in swarm.effects():
        if kind == "applied":
            sizes[gateway] = int(text.rsplit("size=", 1)[1])
    return sizes


def nothing_is_lost_or_done_twice(folder):
    with Cluster(folder, ping_interval_ms=1000) as cluster:
        identities = folder + "/identities"
        prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], GATEWAYS, SEED,
                identities)
        proxies = [FaultProxy(p.address, 7001) for p in cluster.providers]
        swarm = Swarm(folder + "/swarm", identities, [p.endpoint for p in proxies])
        swarm.start()
        administrator = Administrator(cluster)
        try:
            swarm.wait("all are held", held=GATEWAYS)
            gateways = {}
            for number in range(CHANGED):
                volume = cluster.providers[0].must(
                    "volume", "create", "--gateway", f"swarm-{number:06}", "--name",
                    f"v{number}", "--size", str(FIRST), "--wait")
                gateways[number] = volume["gateway_id"].removeprefix("sgw-")
            administrator.start()
            faults = Chaos(cluster, proxies, swarm).run()
            administrator.stopping = True
            administrator.join(60)
            for provider in cluster.providers:
                provider.wait_ready()
            wait_until("all are held again",
                       lambda: swarm.status.get("held", 0) == GATEWAYS, SETTLE_S)

            def all_arrived():
                sizes = newest_sizes(swarm)
                return all(sizes[gateways[n]] >= size
                           for n, size in administrator.accepted.items())
            wait_until("every change that was accepted", all_arrived, SETTLE_S)
            for number, gateway in gateways.items():
                shown = cluster.providers[-1].must("volume", "show", f"v{number}")
                wait_until(f"v{number} as the registry has it",
                           lambda g=gateway, s=shown["size_bytes"]: newest_sizes(swarm)[g] == s,
                           SETTLE_S)
            applied = check_ledger(swarm)
            print(f"seed {SEED}: {len(faults)} faults, {administrator.asked} changes asked for, "
                  f"{applied} applied")
            check(administrator.accepted, "no change was accepted")
        except Failure:
            print(f"seed {SEED}", file=sys.stderr)
            raise
        finally:
            swarm.stop(signal.SIGKILL)


if __name__ == "__main__":
    story([nothing_is_lost_or_done_twice])
