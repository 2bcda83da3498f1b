"""The scenarios: what each loads, and the figures made of it.

A scenario's sides are measured one after the other in an order that is shuffled each round; each
gives one sample, a dictionary. A figure is made of one round's samples, so that both sides of a
ratio saw the same minute of the machine.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable, Optional

import layout as lay
import machine
from lab import LabError
from sides import SPAN, load, load_argv, raw

KIB, MIB = 1 << 10, 1 << 20


@dataclass
class Figure:
    name: str
    unit: str
    value: Callable  # of one round: {side: sample}
    at_least: Optional[float] = None
    at_most: Optional[float] = None

    def bar(self):
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else None

    def holds(self, value):
        if self.bar() is None:
            return None
        return value >= self.at_least if self.at_least is not None else value <= self.at_most


@dataclass
class Scenario:
    name: str
    text: str
    sides: dict  # name: function of (world, seconds) that gives a sample
    figures: list = field(default_factory=list)
    prepare: Callable = lambda world: None
    finish: Callable = lambda world: None


def measured(side, urls, seconds, op, settle=True, **options):
    """One sample: what the initiator saw, and whose processor time it took."""
    side.before()
    clock = machine.Clock(side.pids())
    sample = load(urls, seconds, op, **options)
    sample["cpu"] = clock.read()
    ours = sum(sample["cpu"][name] for name in side.pids()) + sample["cpu_seconds"]
    sample["others_cpus"] = (sample["cpu"]["busy"] - ours) / sample["seconds"]
    sample["ops_per_second"] = sample["ops"] / sample["seconds"]
    sample["side_cpu_us"] = 1e6 * sum(sample["cpu"][name] for name in side.pids()) / sample["ops"]
    if settle:
        side.after()
    return sample


def plain(name, op, luns=1, **options):
    """The side `name` under one kind of load."""
    return lambda world, seconds: measured(world.sides[name], world.sides[name].urls[:luns],
                                           seconds, op, **options)


def with_log_bytes(options):
    """Holdfast, with what its log took for it."""
    def run(world, seconds):
        before = world.holdfast.status()
        sample = plain("holdfast", "randwrite", **options)(world, seconds)
        after = world.holdfast.status()
        sample["log_bytes_per_byte"] = (after["log_written_bytes"] -
                                        before["log_written_bytes"]) / sample["bytes"]
        return sample
    return run


def rate(samples, name):
    return samples[name]["ops"] / samples[name]["seconds"]


def ratio(name, peer):
    return lambda samples: rate(samples, name) / rate(samples, peer)


def mean_us(samples, name):
    return 1e6 / rate(samples, name)


def of(side, key):
    return lambda samples: samples[side][key]


# ---- Scenarios that need more than one load

def cached_write_and_sync(world, seconds):
    return measured(world.holdfast, [world.holdfast.cached_url], seconds, "write+sync")


def raw_durable(world, seconds):
    clock = machine.Clock({})
    sample = raw("durable", world.disk_file, 8 * KIB, seconds)
    sample["cpu"] = clock.read()
    return sample


def fill_log(world):
    """All of the first LUN is in the log and stays there: what is read comes from the local disk."""
    world.holdfast.uploads_off()
    load(world.holdfast.urls[:1], 600, "seqwrite", block=MIB, depth=4, bytes=SPAN)


def fill_cache(world):
    """The first LUN is in the store alone, and then all of it on the read cache's disk: read until
    that takes no fetch, since the disk may be slower than a store that is a directory."""
    holdfast = world.holdfast
    load(holdfast.urls[:1], 600, "seqwrite", block=MIB, depth=4, bytes=SPAN)
    holdfast.after()
    holdfast.leave_and_return()
    for _ in range(8):
        before = holdfast.fetched()
        load(holdfast.urls[:1], 600, "seqread", block=MIB, depth=4, bytes=SPAN)
        if holdfast.fetched() == before:
            return
    raise LabError("the read cache does not take all of it")


def from_cache(world, seconds):
    """Holdfast, with the share of the reads that came from the cache's disk."""
    before = world.holdfast.status()["read_cache"]["disk_hits"]
    sample = plain("holdfast", "randread", **DEEP)(world, seconds)
    hits = world.holdfast.status()["read_cache"]["disk_hits"] - before
    sample["cache_share"] = hits / sample["ops"]
    return sample


HOT = 32 * MIB  # fits the memory tier


def fill_memory_tier(world):
    """Written, and read until all of it is in memory: a block comes in at its second read."""
    world.holdfast.before()
    load(world.holdfast.urls[:1], 60, "seqwrite", block=MIB, depth=4, bytes=HOT, span=HOT)
    world.holdfast.after()
    for _ in range(6):
        load(world.holdfast.urls[:1], 60, "seqread", block=64 * KIB, depth=1, bytes=HOT, span=HOT)


def with_tier_hits(world, seconds):
    """Holdfast, with the share of the reads that its tgtd answered itself."""
    before = world.holdfast.tier_hits()
    sample = plain("holdfast", "randread", span=HOT, **DEEP)(world, seconds)
    sample["tier_share"] = (world.holdfast.tier_hits() - before) / sample["ops"]
    return sample


def uploads_on(world):
    world.holdfast.uploads_on()


def without_uploads(op, **options):
    def run(world, seconds):
        world.holdfast.uploads_off()
        try:
            return store_away(op, **options)(world, seconds)
        finally:
            world.holdfast.uploads_on()
    return run


def store_away(op, **options):
    """Holdfast while its store is away: nothing to wait for."""
    return lambda world, seconds: measured(world.holdfast, world.holdfast.urls[:1], seconds, op,
                                           settle=False, **options)


def kill_under_load(world, seconds):
    """kill -9 of volumed in the middle of a load; the initiator must not notice but by waiting."""
    holdfast = world.holdfast
    clock = machine.Clock({})
    argv = load_argv(holdfast.urls[:1], seconds, "randwrite", block=4 * KIB, depth=32)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL) as process:
        time.sleep(seconds / 2)  # the moment itself, not a wait for something
        os.kill(holdfast.pids()["volumed"], signal.SIGKILL)
        said, complaint = process.communicate(timeout=120)
    if not said:
        raise LabError(f"the load ended: {complaint.strip()}")
    sample = {**json.loads(said), "cpu": clock.read()}
    holdfast.after()
    return sample


def first_read(world, _seconds):
    """1 GiB of small writes that are not uploaded, kill -9, and the time until a read is answered;
    beside it the time to read as much of the log as that with O_DIRECT."""
    holdfast = world.holdfast
    holdfast.uploads_off()
    try:
        before = holdfast.status()["log_written_bytes"]
        clock = machine.Clock({})
        load(holdfast.urls[:1], 300, "randwrite", block=4 * KIB, depth=32, bytes=1 << 30)
        log_bytes = holdfast.status()["log_written_bytes"] - before
        os.kill(holdfast.pids()["volumed"], signal.SIGKILL)
        began = time.monotonic()
        load(holdfast.urls[:1], 60, "randread", block=4 * KIB, depth=1, bytes=4 * KIB)
        first_s = time.monotonic() - began
        sample = raw("read", holdfast.log, MIB, 1.5)
    finally:
        holdfast.uploads_on()
    sample["cpu"] = clock.read()
    sample.update(first_read_s=first_s, log_bytes=log_bytes,
                  log_read_s=log_bytes / (sample["bytes"] / sample["seconds"]))
    return sample


def map_cost(_world, _seconds):
    """A map at its worst: every other 4 KiB, ten million extents."""
    clock = machine.Clock({})
    done = subprocess.run([os.path.join(lay.BUILD, "tests", "bench_map")], capture_output=True,
                          text=True, check=True, stdin=subprocess.DEVNULL)
    return {**json.loads(done.stdout), "cpu": clock.read()}


# ---- The list

DEEP = {"block": 4 * KIB, "depth": 32}
BIG = {"block": MIB, "depth": 8}

SCENARIOS = [
    Scenario(
        "write32", "4 KiB random write, depth 32, every write durable, uploads running",
        {"holdfast": with_log_bytes(DEEP), "null": plain("null", "randwrite", **DEEP),
         "aio": plain("aio", "randwrite", fua=True, **DEEP),
         "aio-sync": plain("aio-sync", "randwrite", **DEEP),
         "rdwr": plain("rdwr", "randwrite", fua=True, **DEEP),
         "rdwr-sync": plain("rdwr-sync", "randwrite", **DEEP),
         "ram": plain("ram", "randwrite", **DEEP)},
        [Figure("write32: × tgt null", "ratio", ratio("holdfast", "null"), at_least=0.50),
         Figure("write32: × tgt aio, durable", "ratio", ratio("holdfast", "aio-sync"),
                at_least=1.5),
         # It ignores FUA: nothing is durable. The bar names it all the same.
         Figure("write32: × tgt aio, FUA ignored", "ratio", ratio("holdfast", "aio"),
                at_least=1.5),
         Figure("write32: × tgt rdwr, FUA", "ratio", ratio("holdfast", "rdwr"), at_least=2.2),
         Figure("write32: × tgt rdwr, sync", "ratio", ratio("holdfast", "rdwr-sync")),
         Figure("write32: × tgt rdwr in memory", "ratio", ratio("holdfast", "ram")),
         Figure("write32: log bytes per byte", "ratio", of("holdfast", "log_bytes_per_byte"),
                at_most=1.10),
         Figure("write32: Holdfast", "IOPS", of("holdfast", "ops_per_second")),
         Figure("write32: tgt null", "IOPS", of("null", "ops_per_second")),
         Figure("write32: tgt aio, durable", "IOPS", of("aio-sync", "ops_per_second")),
         Figure("write32: tgt rdwr, FUA", "IOPS", of("rdwr", "ops_per_second")),
         Figure("write32: Holdfast, p50", "µs", of("holdfast", "p50_us")),
         Figure("write32: Holdfast, p99", "µs", of("holdfast", "p99_us"))]),
    Scenario(
        "cpu32", "the processor time of it, uploads off",
        {"holdfast": without_uploads("randwrite", **DEEP),
         "null": plain("null", "randwrite", **DEEP)},
        [Figure("cpu32: tgtd and volumed", "µs/op", of("holdfast", "side_cpu_us"), at_most=35),
         Figure("cpu32: of this volumed", "µs/op",
                lambda s: 1e6 * s["holdfast"]["cpu"]["volumed"] / s["holdfast"]["ops"]),
         Figure("cpu32: tgtd null", "µs/op", of("null", "side_cpu_us")),
         Figure("cpu32: × tgt null, uploads off", "ratio", ratio("holdfast", "null"))]),
    Scenario(
        "write128", "the same with four sessions on four LUNs, depth 32 each",
        {name: plain(name, "randwrite", luns=4, **DEEP) for name in ("holdfast", "null")},
        [Figure("write128: × tgt null", "ratio", ratio("holdfast", "null"), at_least=0.60)]),
    Scenario(
        "sync1", "one 4 KiB write and SYNCHRONIZE CACHE, depth 1, write cache on",
        {"holdfast": cached_write_and_sync, "null": plain("null", "randwrite"),
         "raw": raw_durable},
        [Figure("sync1: × (2 null + raw 8 KiB)", "ratio",
                lambda s: mean_us(s, "holdfast") / (2 * mean_us(s, "null") + mean_us(s, "raw")),
                at_most=1.2),
         Figure("sync1: Holdfast", "µs", lambda s: mean_us(s, "holdfast")),
         Figure("sync1: tgt null, one write", "µs", lambda s: mean_us(s, "null")),
         Figure("sync1: raw 8 KiB durable", "µs", lambda s: mean_us(s, "raw"))]),
    Scenario(
        "luns8", "8 LUNs at depth 1, each write durable",
        {"one": plain("holdfast", "randwrite"), "eight": plain("holdfast", "randwrite", luns=8)},
        [Figure("luns8: × one LUN", "ratio", ratio("eight", "one"), at_least=4)]),
    Scenario(
        "read32", "4 KiB random read, depth 32, from the local disk",
        {"holdfast": store_away("randread", **DEEP), "aio": plain("aio", "randread", **DEEP)},
        [Figure("read32: × tgt aio", "ratio", ratio("holdfast", "aio"), at_least=0.8),
         Figure("read32: Holdfast", "IOPS", of("holdfast", "ops_per_second"))],
        fill_log, uploads_on),
    Scenario(
        "readcache", "4 KiB random read, depth 32, from the read cache's disk: nothing is in the log",
        {"holdfast": from_cache, "aio": plain("aio", "randread", **DEEP)},
        [Figure("readcache: × tgt aio", "ratio", ratio("holdfast", "aio"), at_least=0.8),
         Figure("readcache: from the cache's disk", "ratio", of("holdfast", "cache_share")),
         Figure("readcache: tgtd and volumed", "µs/op", of("holdfast", "side_cpu_us")),
         Figure("readcache: Holdfast", "IOPS", of("holdfast", "ops_per_second"))],
        fill_cache),
    Scenario(
        "readmem", "4 KiB random read, depth 32, from memory: 32 MiB that fit the memory tier",
        {"holdfast": with_tier_hits, "null": plain("null", "randread", span=HOT, **DEEP)},
        [Figure("readmem: × tgt null", "ratio", ratio("holdfast", "null"), at_least=0.9),
         Figure("readmem: answered by tgtd itself", "ratio", of("holdfast", "tier_share")),
         Figure("readmem: tgtd and volumed", "µs/op", of("holdfast", "side_cpu_us")),
         Figure("readmem: tgtd null", "µs/op", of("null", "side_cpu_us")),
         Figure("readmem: Holdfast", "IOPS", of("holdfast", "ops_per_second"))],
        fill_memory_tier),
    Scenario(
        "seqwrite", "1 MiB sequential write, depth 8, durable, uploads running",
        {"holdfast": plain("holdfast", "seqwrite", **BIG),
         "rdwr": plain("rdwr", "seqwrite", fua=True, **BIG)},
        [Figure("seqwrite: × tgt rdwr, FUA", "ratio", ratio("holdfast", "rdwr"), at_least=0.9),
         Figure("seqwrite: Holdfast", "MiB/s", of("holdfast", "ops_per_second"))]),
    Scenario(
        "seqread", "1 MiB sequential read, depth 8, from the local disk",
        {"holdfast": store_away("seqread", **BIG), "rdwr": plain("rdwr", "seqread", **BIG)},
        [Figure("seqread: × tgt rdwr", "ratio", ratio("holdfast", "rdwr"), at_least=0.9),
         Figure("seqread: Holdfast", "MiB/s", of("holdfast", "ops_per_second"))],
        fill_log, uploads_on),
    Scenario(
        "kill", "kill -9 of volumed under load, depth 32",
        {"holdfast": kill_under_load},
        [Figure("kill: I/O errors", "errors", of("holdfast", "errors"), at_most=0),
         Figure("kill: sessions lost", "sessions", of("holdfast", "sessions_lost"), at_most=0),
         Figure("kill: longest stall", "s", lambda s: s["holdfast"]["gap_us"] / 1e6, at_most=2)]),
    Scenario(
        "firstread", "first read after kill -9 with 1 GiB of 4 KiB writes not uploaded",
        {"holdfast": first_read},
        [Figure("firstread: × reading that log", "ratio",
                lambda s: s["holdfast"]["first_read_s"] / s["holdfast"]["log_read_s"],
                at_most=0.5),
         Figure("firstread: time", "s", of("holdfast", "first_read_s"))]),
    Scenario(
        "map", "a map at its worst: every other 4 KiB, ten million extents",
        {"map": map_cost},
        [Figure("map: an extent", "bytes", of("map", "bytes_per_extent"), at_most=11),
         Figure("map: look-up", "µs", of("map", "lookup_us"), at_most=0.4),
         Figure("map: insertion", "µs", of("map", "insert_us"))]),
]
