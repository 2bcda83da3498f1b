#!/usr/bin/python3 -B
"""32 volumes of 32 TiB in one volumed, opened from their checkpoints: no header of an object is
read, leaves come when they are read, and the process stays within 1 GiB of memory.

Promises: every read at random is right, over all of the volumes (invariant 2); memory is bounded by
`map_memory` and the directory of leaves; leaves stay in the read cache over a restart, so that what
was read once is read again with the store away (invariant 6).

By default two million extents; HF_EXTENTS=full makes it ten million (a minute or two more).
"""

import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import qemu_io  # noqa: E402
from story import BUILD, check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import KEY, TENANT, Volumed  # noqa: E402

MAKE = os.path.join(BUILD, "tests", "make_scattered")
VOLUMES = 32
SIZE = 32 << 40
OBJECT = 65536
OBJECTS = 5 if os.environ.get("HF_EXTENTS") == "full" else 1
LIMIT = 1 << 30
READS = 40


def volume(n):
    return f"vol-{0x3200 + n:016x}"


def dense(n):
    return n % 2 == 0


def extent(n, k, i):
    """(LBA, pattern) of extent i of object k: make_scattered's rule."""
    lba = (k * OBJECT + i) * 16 if dense(n) else (i << 20) + k * 200003 + i * 7919 % 16384
    return lba, 1 + (i * 5 + k) % 251


def make_volumes(folder, store):
    key = os.path.join(folder, "key")
    for n in range(VOLUMES):
        with open(key, "w", encoding="utf-8") as f:
            f.write(f"holdfast-key-1 {volume(n)} {KEY}\n")
        os.chmod(key, 0o600)
        subprocess.run([MAKE, "dir:" + store, key, volume(n), TENANT, str(SIZE), str(OBJECTS),
                        "dense" if dense(n) else "sparse"], check=True, timeout=300,
                       stdin=subprocess.DEVNULL)


def memory(process, field):
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def attached(v):
    return all(one["state"] == "attached" for one in v.status()["volumes"])


def read_at_random(tgt, rng, reads):
    """Some of every volume, and a gap beside each."""
    for n in range(VOLUMES):
        commands = []
        for _ in range(reads):
            k, i = rng.randrange(OBJECTS), rng.randrange(OBJECT)
            lba, pattern = extent(n, k, i)
            commands.append(f"read -P {pattern} {lba * 512} 512")
            if dense(n):
                commands.append(f"read -P 0 {lba * 512 + 512} 7k")
        qemu_io(tgt.url(lun=n + 1), *commands)


def check_memory(v, when):
    peak, now = memory(v.process, "VmHWM"), memory(v.process, "VmRSS")
    print(f"  {when}: {now >> 20} MiB resident, at most {peak >> 20} MiB")
    check(peak < LIMIT, f"{when}: {peak >> 20} MiB")


def fetched(v):
    return sum(one["fetched_bytes"] for one in v.status()["volumes"])


def read_sample(v, tgt):
    """The same places each time; the bytes of data it took from the store."""
    before = fetched(v)
    read_at_random(tgt, random.Random(7), 5)
    return fetched(v) - before


def sample_without_the_store(v, tgt):
    wait_until("all of the sample to be kept", lambda: read_sample(v, tgt) == 0)
    read_sample(v, tgt)
    v.stop()
    v.start()
    wait_until("all to be attached once more", lambda: attached(v), 120)
    wait_until("the cache", lambda: not v.status()["cache"]["loading"])
    os.rename(v.store, v.store + "-away")
    check(read_sample(v, tgt) == 0, "nothing came from the store")
    os.rename(v.store + "-away", v.store)
    check_memory(v, "after a restart, leaves from the read cache")


def large_maps(folder):
    v = Volumed(folder, map_memory="64MiB", memory_tier="0")
    tgt = Tgtd(folder, f"{v.run}/ring.sock")
    rng = random.Random(32)
    began = time.monotonic()
    make_volumes(folder, v.store)
    print(f"  {VOLUMES * OBJECTS * OBJECT} extents made: {time.monotonic() - began:.0f} s")
    try:
        v.start()
        v.use_store()
        for n in range(VOLUMES):
            v.attach(volume(n), SIZE, 2)
        began = time.monotonic()
        wait_until("all to be attached", lambda: attached(v), 120)
        check_memory(v, f"{VOLUMES} volumes open after {time.monotonic() - began:.1f} s")
        tgt.start()
        tgt.target()
        for n in range(VOLUMES):
            check(tgt.lun(volume(n), f"size={SIZE}", lun=n + 1), "the LUN")
        began = time.monotonic()
        read_at_random(tgt, rng, READS)
        check_memory(v, f"{VOLUMES * READS} reads at random in {time.monotonic() - began:.1f} s")
        sample_without_the_store(v, tgt)
        v.kill()
        v.start()
        wait_until("all to be attached again", lambda: attached(v), 120)
        read_at_random(tgt, rng, 5)
        check_memory(v, "after a kill")
    finally:
        tgt.end()
        v.end()


story([large_maps])
