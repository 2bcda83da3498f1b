#!/usr/bin/python3 -B
"""A tgtd that takes whatever it gets keeps nothing from the others (invariant 9). It holds as many
connections as volumed has, and sends as many KEEPs as a ring takes. Another tgtd comes, again and
again, and is served, and volumes are attached meanwhile."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import BUILD, TGT_UID, check, story  # noqa: E402
from volumed import KEY, Volumed  # noqa: E402

GREEDY = 0x1000
HONEST = [0x2000, 0x2001]


def name(volume):
    return f"vol-{volume:016x}"


def attach(volumed, volume, tgtd):
    volumed.ask("attach", name(volume), "t-00000000000000aa", "64MiB", 1, KEY, "create",
                f"tgtd={tgtd}")


def start(which, uid, *arguments):
    return subprocess.Popen([os.path.join(BUILD, "tests", which), *arguments], text=True,
                            user=uid, group=uid, extra_groups=[], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "HOLDFAST_LOG": "error"})


def greed_keeps_nobody_out(folder):
    volumed = Volumed(folder, tgtds=2)
    os.chmod(folder, 0o711)
    os.chmod(volumed.run, 0o711)
    programs = []
    try:
        volumed.start()
        volumed.use_store()
        socket = f"{volumed.run}/ring.sock"
        for volume in HONEST:
            attach(volumed, volume, 0)
        attach(volumed, GREEDY, 1)
        greedy = start("greedy_tgtd", TGT_UID + 1, socket, f"{GREEDY:x}")
        programs.append(greedy)
        said = greedy.stdout.readline()
        serving, kept, refused = (int(number) for number in said.split())
        print(f"  {serving} connections, {kept} KEEPs performed, {refused} refused")
        check(serving >= 30, "the greedy one has all there is")
        check(kept >= 1 and kept + refused == 1000 and refused >= 900,
              "a volume has one KEEP under way")
        for _ in range(3):
            honest = start("honest_ring", TGT_UID, socket, *(f"{one:x}" for one in HONEST))
            programs.append(honest)
            check(honest.stdout.readline() == "ready\n", "another tgtd is let in")
            said = honest.communicate(timeout=60)[0].strip()
            check(honest.returncode == 0, said)
        check(greedy.poll() is None, "the greedy one is still there")
        volumed.stop()
    finally:
        for program in programs:
            program.kill()
            program.wait()
        volumed.end()


story((greed_keeps_nobody_out,))
