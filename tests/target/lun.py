#!/usr/bin/python3 -B
"""What a Holdfast LUN promises beyond the conformance suite, on real tgtd and volumed: it opens
while volumed is away and never holds up tgtd, commands wait for volumed or end as NOT READY in time,
the write cache is what the volume is configured for, sizes grow online, nonsense is refused."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import qemu_io  # noqa: E402
from story import BUILD, TGT_UID, check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import KEY, TENANT, Volumed  # noqa: E402

PROBE = os.path.join(BUILD, "tests", "lun_probe")
ONE, TWO = "vol-00000000000000d1", "vol-00000000000000d2"
MIB = 1 << 20


def probe(url, *arguments, **options):
    return subprocess.Popen([PROBE, url, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
                            **options)


def holds(url, *arguments):
    one = probe(url, *arguments)
    said = one.communicate(timeout=60)[0]
    check(one.returncode == 0, f"{arguments}: {said}")


class Parts:
    """volumed and tgtd for one case."""

    def __init__(self, folder, known_uid=TGT_UID, **env):
        self.volumed = Volumed(folder, tgt_uid=known_uid)
        self.tgt = Tgtd(folder, f"{self.volumed.run}/ring.sock", **env)

    def __enter__(self):
        return self.volumed, self.tgt

    def __exit__(self, *_):
        self.tgt.end()
        self.volumed.end()

    def serve(self, volume, *flags, mib=64):
        self.volumed.begin(volume, mib, *flags)


def it_opens_while_volumed_is_away(folder):
    parts = Parts(folder)
    with parts as (volumed, tgt):
        tgt.serve(ONE, 64)
        client = probe(tgt.url(), "miscompare")
        began = time.monotonic()
        for _ in range(20):
            tgt.admin("show", "target")
        check(time.monotonic() - began < 5, "tgtd answers meanwhile")
        check(client.poll() is None, "the command waits")
        parts.serve(ONE)
        said = client.communicate(timeout=30)[0]
        check(client.returncode == 0, f"served when volumed is there: {said}")
        volumed.kill()
        client = probe(tgt.url(), "miscompare")
        volumed.start()
        check(client.wait(timeout=30) == 0, "and when it is there again")


def it_ends_in_time_when_volumed_stays_away(folder):
    parts = Parts(folder, HOLDFAST_DEADLINE_MS="1500")
    with parts as (volumed, tgt):
        parts.serve(ONE)
        tgt.serve(ONE, 64)
        holds(tgt.url(), "miscompare")
        volumed.kill()
        holds(tgt.url(), "not-ready", 4)
        volumed.start()
        qemu_io(tgt.url(), "write -P 1 0 1M", "read -P 1 0 1M")


def the_write_cache_is_the_volumes(folder):
    parts = Parts(folder)
    with parts as (volumed, tgt):
        parts.serve(ONE)
        volumed.attach(TWO, "64MiB", 1, "create", "write-cache")
        tgt.start()
        tgt.target()
        check(tgt.lun(ONE, f"size={64 * MIB}", lun=1), "a LUN without")
        check(tgt.lun(TWO, f"size={64 * MIB}:wce=1", lun=2), "a LUN with")
        holds(tgt.url(lun=1), "write-cache", 0)
        holds(tgt.url(lun=2), "write-cache", 1)
        # A session learns of a change at once, so that it flushes.
        client = probe(tgt.url(lun=1), "write-cache-changes", 1)
        check(client.stdout.readline() == "ready\n", "logged in")
        volumed.attach(ONE, "64MiB", 1, "write-cache")
        said = client.communicate(timeout=40)[0]
        check(client.returncode == 0, said)
        # What volumed says counts, whatever the LUN was made with.
        tgt.admin("delete", "logicalunit", "--tid", "1", "--lun", "2")
        check(tgt.lun(TWO, f"size={64 * MIB}", lun=2), "made without")
        wait_until("BOUND", lambda: probe(tgt.url(lun=2), "write-cache", 1).wait() == 0)
        holds(tgt.url(lun=1), "limits")
        holds(tgt.url(lun=2), "miscompare")


def it_grows(folder):
    parts = Parts(folder)
    with parts as (volumed, tgt):
        parts.serve(ONE)
        tgt.serve(ONE, 64)
        clients = [probe(tgt.url(), "grows", 96 * MIB) for _ in range(2)]
        for client in clients:
            check(client.stdout.readline() == "ready\n", "logged in")
        volumed.attach(ONE, "96MiB")
        for client in clients:  # each is told, and told once
            said = client.communicate(timeout=40)[0]
            check(client.returncode == 0, said)
        qemu_io(tgt.url(), f"write -P 3 {95 * MIB} 1M", f"read -P 3 {95 * MIB} 1M")
        check("error" in volumed.ask("attach", ONE, TENANT, "64MiB", 1, KEY, allow=True),
              "it does not shrink")
        qemu_io(tgt.url(), f"read -P 3 {95 * MIB} 1M")


def blocks_are_of_either_size(folder):
    parts = Parts(folder)
    with parts as (_, tgt):
        parts.serve(ONE)
        parts.volumed.attach(TWO, "64MiB", 1, "create")
        tgt.start()
        tgt.target()
        check(tgt.lun(ONE, f"size={64 * MIB}:block=4096", lun=1), "a LUN of 4096-byte blocks")
        check(tgt.lun(TWO, f"size={64 * MIB}:block=512:wce=0", lun=2), "one of 512")
        holds(tgt.url(lun=1), "block", 4096)
        holds(tgt.url(lun=2), "block", 512)
        for lun in (1, 2):
            for promise in ("limits", "miscompare", "thin"):
                holds(tgt.url(lun=lun), promise)
        # The volume's bytes do not depend on how they are counted.
        # (QEMU 7.2 aborts when it reads from a thin disk with large blocks.)
        holds(tgt.url(lun=1), "fill", 256, 16, 0x21)
        tgt.admin("delete", "logicalunit", "--tid", "1", "--lun", "1")
        check(tgt.lun(ONE, f"size={64 * MIB}", lun=1), "the same volume in blocks of 512")
        qemu_io(tgt.url(lun=1), "read -P 0x21 1M 64k", "write -P 0x22 1052672 512",
                "write -P 0x22 1053184 3584")
        tgt.admin("delete", "logicalunit", "--tid", "1", "--lun", "1")
        check(tgt.lun(ONE, f"size={64 * MIB}:block=4096", lun=1), "and back")
        for lba, pattern in ((256, 0x21), (257, 0x22), (258, 0x21), (272, 0)):
            holds(tgt.url(lun=1), "holds", lba, pattern)


def it_is_known_by_its_volume(folder):
    def identity(url):
        return subprocess.check_output([PROBE, url, "identity"], text=True, timeout=60)

    parts = Parts(folder)
    with parts as (_, tgt):
        parts.serve(ONE)
        parts.volumed.attach(TWO, "64MiB", 1, "create")
        tgt.start()
        tgt.target(1)
        tgt.target(2)
        check(tgt.lun(ONE, f"size={64 * MIB}"), "the LUN")
        check(tgt.lun(TWO, f"size={64 * MIB}", lun=3), "another")
        before = identity(tgt.url())
        check(before != identity(tgt.url(lun=3)), "two volumes are two disks")
        tgt.end()  # another tgtd, target and number
        tgt.start()
        tgt.target(1)
        tgt.target(2)
        check(tgt.lun(ONE, f"size={64 * MIB}", tid=2, lun=7), "the LUN again")
        check(identity(tgt.url(tid=2, lun=7)) == before, f"the same disk: {before}")


def a_detached_volume_is_not_ready(folder):
    parts = Parts(folder)
    with parts as (volumed, tgt):
        parts.serve(ONE)
        tgt.serve(ONE, 64)
        qemu_io(tgt.url(), "write -P 5 0 1M")
        volumed.ask("detach", ONE)
        holds(tgt.url(), "not-ready", 3)
        volumed.attach(ONE, "64MiB", 2)
        wait_until("readiness", lambda: volumed.volume(ONE)["state"] == "attached")
        qemu_io(tgt.url(), "read -P 5 0 1M", "write -P 6 0 1M", "read -P 6 0 1M")


def an_unknown_uid_gets_no_volume(folder):
    parts = Parts(folder, known_uid=4711, HOLDFAST_DEADLINE_MS="1000")
    with parts as (volumed, tgt):
        if not tgt.boxed:
            return
        parts.serve(ONE)
        tgt.serve(ONE, 64)
        holds(tgt.url(), "not-ready", 4)
        check(f"uid={TGT_UID} may not connect" in volumed.log_text(), "volumed says who it was")


def nonsense_is_refused(folder):
    with Parts(folder) as (_, tgt):
        tgt.start()
        tgt.target()
        for options in ("", "size=", "size=0", "size=1000", "size=4096x", "size=4096:wce=2",
                        "size=99999999999999999999", "wce=1", "size=4096:block=1024",
                        "size=4096:block=4096x", "size=4096:", "size=4096:wce=1:"):
            check(not tgt.lun(ONE, options, allow=True), f"bsopts {options!r}")
        for path in ("vol-1", "/etc/passwd", "vol-0000000000000000", "vol-00000000000000D1"):
            check(not tgt.lun(path, "size=4096", allow=True), f"path {path}")
        check(tgt.lun(ONE, "size=4096"), "a LUN")
        tgt.lun(ONE, "size=4096", lun=2, allow=True)
        check(tgt.admin("show", "target").count(ONE) == 1, "the same volume twice")
        tgt.admin("delete", "logicalunit", "--tid", "1", "--lun", "1")
        check(tgt.lun(ONE, "size=4096"), "again after its deletion")
        tgt.admin("new", "logicalunit", "--tid", "1", "--lun", "3", "--bstype", "holdfast",
                  "--bsopts", "size=4096")
        holds(tgt.url(lun=3), "not-ready", 3)  # without a path
        for text in ("no volume", "bsopts=size=", "exists"):
            check(text in tgt.log_text(), f"the log says: {text}")


story((it_opens_while_volumed_is_away, it_ends_in_time_when_volumed_stays_away,
       the_write_cache_is_the_volumes, it_grows, blocks_are_of_either_size,
       it_is_known_by_its_volume, a_detached_volume_is_not_ready,
       an_unknown_uid_gets_no_volume, nonsense_is_refused))
