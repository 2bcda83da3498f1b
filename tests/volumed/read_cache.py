#!/usr/bin/python3 -B
"""The read cache under a real volumed: tgtd with the plugin, a directory as the store, qemu-img as
the initiator.

Promises: what was written is read from the log after its upload too; what was read once is read
again without the store, also after a restart of volumed, clean or by kill -9; a cache file that was
damaged, replaced or cannot be had costs fetches and never a wrong byte (invariants 6 and 8).
"""

import filecmp
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import qemu_img  # noqa: E402
from story import check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

VOLUME = "vol-0000000000000052"
SIZE_MIB = 48


class Served:
    """A volume that is in the store alone, behind a LUN."""

    def __init__(self, folder, **config):
        self.image, self.back = os.path.join(folder, "image"), os.path.join(folder, "back")
        self.volumed = Volumed(folder, memory_tier="0", cache_size="1MiB", **config)
        self.tgt = Tgtd(folder, f"{self.volumed.run}/ring.sock")
        self.cache = os.path.join(self.volumed.state, "cache")

    def __enter__(self):
        with open(self.image, "wb") as f:
            f.write(os.urandom(SIZE_MIB << 20))
        self.volumed.begin(VOLUME, SIZE_MIB)
        self.tgt.serve(VOLUME, SIZE_MIB)
        self.url = self.tgt.url()
        qemu_img("convert", "-n", "-f", "raw", "-O", "raw", self.image, self.url)
        self.volumed.ask("detach", VOLUME)
        self.volumed.attach(VOLUME, f"{SIZE_MIB}MiB", 2)
        self.attached()
        return self

    def __exit__(self, *_):
        self.tgt.end()
        self.volumed.end()

    def attached(self):
        wait_until("the volume", lambda: self.volumed.volume(VOLUME)["state"] == "attached")
        wait_until("the cache", lambda: not self.stats()["loading"])

    def stats(self):
        return self.volumed.status()["cache"]

    def fetched(self):
        return self.volumed.volume(VOLUME)["fetched_bytes"]

    def read(self):
        """Reads all of it, checks it, and returns the bytes it took from the store."""
        before = self.fetched()
        qemu_img("convert", "-f", "raw", "-O", "raw", self.url, self.back)
        check(filecmp.cmp(self.image, self.back, shallow=False), "what was read is right")
        return self.fetched() - before

    def restart(self, end):
        end()
        self.volumed.start()
        self.attached()


def read_again_without_the_store(folder):
    with Served(folder) as one:
        began = time.monotonic()
        check(one.read() >= SIZE_MIB << 20, "the first read is from the store")
        print(f"  from the store: {time.monotonic() - began:.1f} s")
        wait_until("all of it to be kept", lambda: one.read() == 0)  # the disk may be slower
        for end in (one.volumed.stop, one.volumed.kill):
            if end == one.volumed.kill:  # its index follows within seconds
                size = os.path.getsize(one.cache)
                wait_until("the index to be written", lambda: time.monotonic() > began + 6, 30)
                check(os.path.getsize(one.cache) == size, "the cache keeps its size")
            one.restart(end)
            check(one.stats()["recovered_chunks"] >= SIZE_MIB * 16, f"found: {one.stats()}")
            os.rename(one.volumed.store, one.volumed.store + "-away")
            began = time.monotonic()
            check(one.read() == 0, "nothing came from the store")
            print(f"  from the cache's disk: {time.monotonic() - began:.1f} s")
            check(one.stats()["disk_hit_bytes"] > 0 and one.stats()["damaged"] == 0,
                  f"hits: {one.stats()}")
            os.rename(one.volumed.store + "-away", one.volumed.store)
        one.volumed.stop()


def a_damaged_cache_costs_fetches(folder):
    with Served(folder) as one:
        wait_until("all of it to be kept", lambda: one.read() == 0)
        one.volumed.stop()
        with open(one.cache, "r+b") as f:
            for at in range(10 << 20, 40 << 20, 300000):
                f.seek(at)
                byte = f.read(1)
                f.seek(at)
                f.write(bytes([byte[0] ^ 0x10]))
        one.volumed.start()
        one.attached()
        fetched = one.read()
        check(0 < fetched < SIZE_MIB << 20, f"only what was damaged is fetched: {fetched}")
        check(one.stats()["damaged"] > 50, f"told: {one.stats()}")
        one.volumed.stop()
        with open(one.cache, "r+b") as f:
            f.write(os.urandom(1 << 20))
        one.volumed.start()
        one.attached()
        check(one.read() > SIZE_MIB << 19, "made anew")
        one.volumed.stop()


def without_a_disk(folder):
    os.makedirs(os.path.join(folder, "in-the-way"))
    with Served(folder, cache_file=os.path.join(folder, "in-the-way")) as one:
        check(one.stats()["disk_limit_bytes"] == 0, "no disk")
        check("the read cache has no disk" in one.volumed.log_text(), "the journal tells why")
        one.read()
        check(one.read() > 0, "memory does not hold all of it")
        one.volumed.stop()


def the_log_serves_what_is_uploaded(folder):
    """Before any of it is recycled; the cache has nothing yet."""
    with Served(folder) as one:
        qemu_img("convert", "-n", "-f", "raw", "-O", "raw", one.image, one.url)
        wait_until("the uploads", lambda: one.volumed.drained(VOLUME))
        total = one.volumed.status()["log_total_bytes"]
        wait_until("the log to count as free",
                   lambda: one.volumed.status()["log_free_bytes"] >= total - (40 << 20))
        os.rename(one.volumed.store, one.volumed.store + "-away")
        check(one.read() == 0, "nothing came from the store")
        check(one.stats()["memory_hits"] == 0 and one.stats()["disk_hits"] == 0, "nor the cache")
        os.rename(one.volumed.store + "-away", one.volumed.store)
        one.volumed.stop()


story((the_log_serves_what_is_uploaded, read_again_without_the_store, a_damaged_cache_costs_fetches, without_a_disk))
