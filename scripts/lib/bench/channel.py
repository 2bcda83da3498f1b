"""Measures the management connection with thousands of simulated gateways (tests/channel), each part
against its bar. A table goes to standard output, everything to build/bench/channel.json.

Parts: idle (memory of a held connection), change (how long a change takes while all are held), fan
(one change to all), restart (everybody comes back; the cost of a handshake), failover (the holder of
5,000 with standbys is killed). To fill one process with 15,000 takes a minute (idle, or once before
change and fan), restart one, certifying them the first time another; with --folder that is done once.
`hold` is apart: 60,000 gateways on several processes for ten minutes, not one dropped.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from datetime import datetime

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "tests", "lib"))
import layout as lay  # noqa: E402
import machine  # noqa: E402
from bench import FOLDER, print_table  # noqa: E402
from lab import LabError, wait_until  # noqa: E402
from story import Failure, free_ports  # noqa: E402
from cluster import Cluster  # noqa: E402
from swarm import (TOOLS, OneProvider, Swarm, end, memory_kib, prepare,  # noqa: E402
                   settle, slab_kib)  # noqa: E402

FILL_AT_ONCE = 64  # handshakes under way while the swarm is filled
CHANGED = 500      # gateways that have a volume
RATE = 50          # changes a second
TICKS = os.sysconf("SC_CLK_TCK")


def measure(name, value, unit, at_most=None, at_least=None):
    bar = f"<= {at_most:g}" if at_most is not None else None
    bar = f">= {at_least:g}" if at_least is not None else bar
    holds = None if bar is None else value <= at_most if at_most is not None else value >= at_least
    return {"name": name, "value": value, "unit": unit, "bar": bar, "holds": holds, "min": value,
            "max": value, "values": [value], "rounds": 1}


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_s(process):
    return machine.process_ticks(process.pid) / TICKS


class World:
    """One provider, and a swarm of `count` gateways that are known to it. What is certified in a
    folder of the caller's is there the next time."""

    def __init__(self, count, folder=None):
        self.count, self.keeps = count, bool(folder)
        self.folder = folder or lay.scratch_folder("channel-")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.provider = OneProvider(self.folder, free_ports(2), report_interval_ms=60000)
        self.provider.log_level = "debug"  # it says when a document was durable
        self.identities = os.path.join(self.folder, "identities")
        self.swarm = Swarm(os.path.join(self.folder, "swarm"), self.identities,
                           [self.provider.endpoint], "--count", count, "--in-flight",
                           FILL_AT_ONCE)

    def start(self):
        p = self.provider
        p.start_signer()
        p.start_provider()
        p.wait_ready()
        shutil.rmtree(self.swarm.folder)
        os.makedirs(self.swarm.folder)
        if not os.path.exists(self.identities):
            print(f"{self.count} gateways are being certified …", flush=True)
            prepare(p.registry, p.run, self.count, 1, self.identities)

    def stop(self):
        self.swarm.stop(signal.SIGKILL)
        self.provider.stop()
        if not self.keeps:
            shutil.rmtree(self.folder)

    def fill(self):
        self.swarm.start()
        self.swarm.wait("all are held", 300, held=self.count)

    def durable_us(self):
        """{(gateway, generation): µs since 1970} of documents that became durable, from the
        provider's log, in whole milliseconds, rounded down."""
        found = {}
        line = re.compile(r"(\S+)Z debug \S+ sgw-([0-9a-f]{16}) has generation (\d+)$")
        with open(os.path.join(self.folder, "provider", "log"), encoding="utf-8") as f:
            for match in filter(None, map(line.match, f)):
                at = datetime.fromisoformat(match[1] + "+00:00").timestamp()
                found[match[2], int(match[3])] = 1e6 * at
        return found


def idle(world, args):
    provider = world.provider.provider
    ready(args, "idle")
    slab = slab_kib()
    world.fill()
    time.sleep(3)  # what was freed by the handshakes settles
    slab = (slab_kib() - slab) / 2  # both ends of each connection are on this machine
    memory = memory_kib(provider.pid)
    before = cpu_s(provider)
    time.sleep(5)
    return [measure("idle: held by one process", world.swarm.status["held"], "gateways",
                    at_least=15000),
            measure("idle: memory each, kernel's included", (memory + slab) / world.count, "KiB",
                    at_most=24),
            measure("idle: of which the kernel's", slab / world.count, "KiB"),
            measure("idle: processor of the provider", 20 * (cpu_s(provider) - before), "%")]


def change(world, seconds):
    done = subprocess.run(
        [os.path.join(TOOLS, "swarm_change"), "--socket",
         os.path.join(world.provider.run, "provider.sock"), "--gateways",
         str(min(CHANGED, world.count)), "--rate", str(RATE), "--seconds", str(seconds)],
        check=True, capture_output=True, text=True, timeout=300)
    asked = {}
    for line in done.stdout.splitlines():
        size, at_us, _, error = map(int, line.split())
        if error:
            raise Failure(f"a change was refused with {error}")
        asked[size] = at_us
    arrived = {}

    def all_arrived():
        for time_us, kind, gateway, _, _, generation, _, text in world.swarm.effects():
            if kind == "applied":
                arrived.setdefault(int(text.rsplit("size=", 1)[1]),
                                   (time_us, gateway, generation))
        return asked.keys() <= arrived.keys()
    wait_until("every change arrived", all_arrived)
    durable = world.durable_us()
    whole = [(arrived[size][0] - at_us) / 1000 for size, at_us in asked.items()]
    delivery = [(time_us - durable[gateway, generation]) / 1000
                for time_us, gateway, generation in map(arrived.get, asked)]
    return [measure("change: durable to answered, p50", statistics.median(delivery), "ms",
                    at_most=10),
            measure("change: durable to answered, p99", quantile(delivery, 0.99), "ms",
                    at_most=50),
            measure("change: asked for to answered, p50", statistics.median(whole), "ms"),
            measure("change: asked for to answered, p99", quantile(whole, 0.99), "ms")]


class Shares:
    """Whose the processors were meanwhile."""

    def __init__(self, world):
        self.processes = {"provider": world.provider.provider, "signer": world.provider.signer,
                          "swarm": world.swarm.process}
        self.began = {name: cpu_s(p) for name, p in self.processes.items()}

    def measures(self, part):
        return [measure(f"{part}: processor of the {name}", cpu_s(p) - self.began[name], "s")
                for name, p in self.processes.items()]


def fan(world):
    """The desired state of all counts one up; what follows is the provider's and the signer's."""
    before = sum(1 for e in world.swarm.effects() if e[1] == "applied")
    shares = Shares(world)
    done = subprocess.run(
        [os.path.join(TOOLS, "swarm_fan"), "--registry", world.provider.registry,
         "--identities", world.identities, "--count", str(world.count)],
        check=True, capture_output=True, text=True, timeout=120)
    changed_us = int(done.stdout)
    world.swarm.wait("all have the change", 120, applied=before + world.count)
    times = [e[0] - changed_us for e in world.swarm.effects() if e[1] == "applied"][before:]
    return [measure("fan: one change answered by 99 %", quantile(times, 0.99) / 1e6, "s",
                    at_most=3),
            measure("fan: by half", statistics.median(times) / 1e6, "s"),
            measure("fan: by the last", max(times) / 1e6, "s"), *shares.measures("fan")]


def bare_us(world):
    """What a handshake costs a server that does nothing else: same certificates, same settings."""
    done = subprocess.run([os.path.join(TOOLS, "bare_tls"), "--identities", world.identities,
                           "--count", "1000"], check=True, capture_output=True, text=True)
    return float(done.stdout)


def most_in_a_second(history, began):
    """How many were held anew in the worst second; statuses are 50 ms apart."""
    seen = [(s["time"], s["held"]) for s in history if s["time"] >= began]
    most, first = 0, 0
    for at, held in seen:
        while seen[first][0] < at - 1:
            first += 1
        most = max(most, held - seen[first][1])
    return most


def restart(world):
    """Provider and gateways begin anew, all gateways in the same moment. The cost of a handshake is
    all that the provider did from its start until everybody was back, pings and look-outs and
    database included."""
    world.swarm.stop()
    end(world.provider.provider, signal.SIGKILL)
    bare = [bare_us(world), bare_us(world)]
    storm = Swarm(world.swarm.folder, world.identities, [world.provider.endpoint], "--count",
                  world.count)
    world.swarm = storm
    world.provider.start_provider()
    world.provider.wait_ready()
    shares, began = Shares.__new__(Shares), time.time()
    storm.start()  # everybody at once
    shares.__init__(world)
    storm.wait("all are back", 300, held=world.count)
    back_s = time.time() - began
    settle(2)  # what the last ones are still told
    each_us = 1e6 * (cpu_s(world.provider.provider) - shares.began["provider"]) / world.count
    bare += [bare_us(world), bare_us(world)]
    return [measure("restart: all back", back_s, "s", at_most=90),
            measure("restart: most held in a second", most_in_a_second(storm.history, began),
                    "gateways", at_most=300 + 32),
            measure("restart: processor of the provider, each", each_us, "µs"),
            measure("restart: bare OpenSSL, each", statistics.median(bare), "µs"),
            measure("restart: × bare OpenSSL", each_us / statistics.median(bare), "ratio",
                    at_most=1.3), *shares.measures("restart")]


# ---- Failover ----

def commandable(swarm, since_us):
    """ms from `since_us` until each gateway had an epoch again, durable, and served requests."""
    first = {}
    for time_us, kind, gateway, *_ in swarm.effects():
        if kind == "ready" and time_us >= since_us:
            first.setdefault(gateway, (time_us - since_us) / 1000)
    return sorted(first.values())


def failover(args):
    """Two processes over PostgreSQL and NATS; the gateways are all held by one, with a standby at
    the other. That one is killed; later, with it back and everybody moved there, it falls silent."""
    folder = lay.scratch_folder("failover-")
    os.chmod(folder, 0o711)
    count = args.failover
    settings = {"rebalance_per_s": 0, "accept_per_s": 0, "report_interval_ms": 60000,
                "standby_spread_ms": 2000, "reconnects_per_minute": 0}
    try:
        with Cluster(folder, count=2, nodes=1, **settings) as cluster:
            identities = os.path.join(folder, "identities")
            print(f"{count} gateways are being certified …", flush=True)
            prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], count, 1, identities)
            swarm = Swarm(os.path.join(folder, "swarm"), identities,
                          [p.channel for p in cluster.providers], "--standby", "--first", 0,
                          "--in-flight", FILL_AT_ONCE)
            swarm.start()
            try:
                swarm.wait("all are held, with a standby", 600, held=count, parked=count)
                ready(args, "failover")
                busy = {name: (p, cpu_s(p)) for name, p in
                        (("provider", cluster.providers[1].process), ("swarm", swarm.process))}
                at_us = time.time_ns() // 1000
                cluster.providers[0].stop(signal.SIGKILL)
                wait_until("all are commandable again",
                           lambda: len(commandable(swarm, at_us)) == count, 60)
                times = commandable(swarm, at_us)
                cpu = [measure(f"failover: processor of the {name}", cpu_s(p) - before, "s")
                       for name, (p, before) in busy.items()]
            finally:
                swarm.stop(signal.SIGKILL)
    finally:
        shutil.rmtree(folder)
    return [measure("failover: gateways of the holder that is killed", count, "gateways",
                    at_least=5000),
            measure("failover: commandable again, p50", statistics.median(times), "ms",
                    at_most=500),
            measure("failover: commandable again, p99", quantile(times, 0.99), "ms",
                    at_most=2000),
            measure("failover: the last", times[-1], "ms"), *cpu]


# ---- 60,000 ----

def spread(count, processes, minutes):
    """`count` gateways on so many provider processes, each with a swarm and a loopback address of
    its own, because of the limit of open files."""
    share = count // processes
    worlds = [World(share) for _ in range(processes)]
    try:
        for number, world in enumerate(worlds):
            world.provider.endpoint = world.provider.endpoint.replace("127.0.0.1",
                                                                      f"127.0.0.{number + 1}")
            world.provider.config["channel_listen"] = world.provider.endpoint
            world.swarm.argv[world.swarm.argv.index("--endpoint") + 1] = world.provider.endpoint
            world.start()
        for world in worlds:
            world.fill()
            print(f"{world.count} are held", flush=True)
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            time.sleep(1)
        held = sum(w.swarm.status["held"] for w in worlds)
        dropped = sum(w.swarm.status["ended"] for w in worlds)
        memory = sum(memory_kib(w.provider.provider.pid) for w in worlds) / count
    finally:
        for world in worlds:
            world.stop()
    return [measure("hold: held across processes", held, "gateways", at_least=60000),
            measure("hold: dropped", dropped, "gateways", at_most=0),
            measure("hold: resident memory each", memory, "KiB")]


PARTS = ("idle", "change", "fan", "restart", "failover")


def ready(args, part):
    """The machine may be somebody else's until now."""
    if args.ask:
        print(f"ready for {part}", flush=True)
        sys.stdin.readline()


def run(args):
    measures = []
    if "hold" in args.parts:
        measures += spread(args.spread, args.processes, args.minutes)
    if "failover" in args.parts:
        measures += failover(args)
    if not {"idle", "change", "fan", "restart"} & set(args.parts):
        return measures
    world = World(args.gateways, args.folder)
    try:
        world.start()
        if args.parts == ["restart"]:
            ready(args, "restart")
        elif "idle" not in args.parts:
            world.fill()
        if "idle" in args.parts:
            measures += idle(world, args)
        if "change" in args.parts:
            ready(args, "change")
            measures += change(world, args.seconds)
        if "fan" in args.parts:
            ready(args, "fan")
            measures += fan(world)
        if "restart" in args.parts:
            measures += restart(world)
    finally:
        world.stop()
    return measures


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench channel", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS),
                        help="idle, change, fan, restart, failover (default: these), hold")
    parser.add_argument("--ask", action="store_true", help="wait for a line on standard input "
                        "before each part is measured, so that others can rest meanwhile")
    parser.add_argument("--failover", type=int, default=5000, help="of failover (default: 5000)")
    parser.add_argument("--gateways", type=int, default=15000, help="held (default: 15000)")
    parser.add_argument("--folder", help="for the provider; certified gateways stay there for the "
                        "next run with as many (default: one that is removed)")
    parser.add_argument("--seconds", type=int, default=20, help="of changes (default: 20)")
    parser.add_argument("--spread", type=int, default=60000, help="of hold (default: 60000)")
    parser.add_argument("--processes", type=int, default=4, help="of hold (default: 4)")
    parser.add_argument("--minutes", type=float, default=10, help="of hold (default: 10)")
    args = parser.parse_args()
    unknown = set(args.parts) - {*PARTS, "hold"}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return args


def keep(path, measures, facts, settings):
    """Parts are measured at different times: those of earlier runs stay beside these."""
    def part(m):
        return m["name"].split(":")[0]
    parts, kept = {part(m) for m in measures}, {"measures": [], "samples": {}}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            kept = json.load(f)
    samples = {name: runs for name, runs in kept.get("samples", {}).items() if name not in parts}
    samples |= {name: {"settings": settings, "machine": facts,
                       "values": {m["name"]: m["values"] for m in measures if part(m) == name}}
                for name in parts}
    lay.write_json(path, {
        "measures": [m for m in kept["measures"] if part(m) not in parts] + measures,
        "samples": samples, "machine": facts})


def main():
    args = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    facts = machine.facts()
    try:
        measures = run(args)
    except (Failure, LabError, subprocess.SubprocessError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    os.makedirs(FOLDER, exist_ok=True)
    keep(os.path.join(FOLDER, "channel.json"), measures, facts, vars(args))
    print_table(measures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
