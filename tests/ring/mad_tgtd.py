#!/usr/bin/python3 -B
"""A tgtd gone mad harms nobody but itself (DESIGN, section 5; invariant 9). Under a real volumed two
rings lie in every message, descriptor and index and change their memory under the reader, for as
long as HF_MAD_SECONDS says (12), from HF_SEED (1). Beside them an honest ring of another tenant
writes and verifies throughout. volumed neither ends nor hangs nor grows nor serves a byte of one
ring to another, and what it wrote meanwhile is whole: it recovers after kill -9, without a bad
extent. The same under the address sanitizer in the asan build.

The mad ones run as the second and third tgtd's uids: a volume that nobody has bound at the moment
is not theirs either."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import BUILD, TGT_UID, check, for_any_uid, story, wait_until  # noqa: E402
from volumed import KEY, Volumed  # noqa: E402

SECONDS = int(os.environ.get("HF_MAD_SECONDS", "12"))
SEED = int(os.environ.get("HF_SEED", "1"))
MAD = [0x1000, 0x1001, 0x1002]
HONEST = [0x2000, 0x2001]
LEFT = [0x2002, 0x2003]  # of an honest ring that has gone
TENANTS = {**{volume: "t-00000000000000aa" for volume in MAD},
           **{volume: "t-00000000000000bb" for volume in HONEST + LEFT}}


def name(volume):
    return f"vol-{volume:016x}"


def program(which):
    return os.path.join(BUILD, "tests", which)


def attach(volumed, volume, *flags):
    volumed.ask("attach", name(volume), TENANTS[volume], "64MiB", 1, KEY, *flags)


def open_files(volumed):
    return len(os.listdir(f"/proc/{volumed.process.pid}/fd"))


def resident_mib(volumed):
    with open(f"/proc/{volumed.process.pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("VmRSS"))) >> 10


def honest_ring(volumed, volumes):
    ring = subprocess.Popen([program("honest_ring"), f"{volumed.run}/ring.sock",
                             *(f"{volume:x}" for volume in volumes)], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            env={**os.environ, "HOLDFAST_LOG": "error"})
    check(ring.stdout.readline() == "ready\n", "the honest ring")
    return ring


def go_mad(volumed, seed):
    """Two at once, each with volumes of its own; both name the honest one's."""
    socket = f"{volumed.run}/ring.sock"
    mad = for_any_uid(program("mad_tgtd"), volumed.folder)
    both = [subprocess.Popen([mad, socket, f"{MAD[i]:x}", f"{HONEST[0]:x}",
                              str(seed + i), str(SECONDS)], text=True, user=TGT_UID + 1 + i,
                             group=TGT_UID + 1 + i, extra_groups=[],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for i in range(2)]
    for one in both:
        said = one.communicate(timeout=SECONDS + 120)[0].strip()
        check(one.returncode == 0, f"HF_SEED={SEED}: {said}")
        print(f"  {said}")


def a_mad_tgtd_harms_nobody(folder):
    volumed = Volumed(folder, log_size="1GiB", tgtds=3)
    os.chmod(folder, 0o711)
    os.chmod(volumed.run, 0o711)
    honest = None
    try:
        volumed.start()
        volumed.use_store()
        for volume in TENANTS:
            attach(volumed, volume, "create",
                   f"tgtd={MAD.index(volume) % 2 + 1 if volume in MAD else 0}")
        pid = volumed.process.pid
        gone = honest_ring(volumed, LEFT)
        said = gone.communicate(timeout=120)[0].strip()
        check(gone.returncode == 0, said)
        honest = honest_ring(volumed, HONEST)
        files = open_files(volumed)
        go_mad(volumed, 2 * SEED)
        check(honest.poll() is None, f"the honest ring goes on: HF_SEED={SEED}")
        # Descriptors in the bodies of segments and of the store come and go.
        wait_until("what was handed over to be closed",
                   lambda: open_files(volumed) <= files + 16, 30)
        print(f"  volumed: {resident_mib(volumed)} MiB, {open_files(volumed)} files")
        said = honest.communicate(timeout=120)[0].strip()
        check(honest.returncode == 0, f"HF_SEED={SEED}: {said}")
        print(f"  {said}")
        check(volumed.status()["pid"] == pid, "volumed is the same")
        volumed.kill()
        volumed.start()
        for volume in TENANTS:
            one = volumed.volume(name(volume))
            check(one["state"] in ("opening", "attached") and not one.get("bad_extents"),
                  f"after a kill: {one}")
        volumed.stop()
        check("Sanitizer" not in volumed.log_text(), "no sanitizer spoke")
    finally:
        if honest:
            honest.kill()
        volumed.end()


story((a_mad_tgtd_harms_nobody,))
