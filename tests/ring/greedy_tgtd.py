#!/usr/bin/python3 -B
"""A tgtd that takes whatever it gets keeps nothing from the others (invariant 9). It opens
connections without end, and sends as many KEEPs as a ring takes; so does a process of root, who may
have all the connections that there are. Another tgtd comes, again and again, and is served."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import BUILD, TGT_UID, check, for_any_uid, story  # noqa: E402
from volumed import KEY, Volumed  # noqa: E402

GREEDY = [0x1000, 0x1001]
HONEST = [0x2000, 0x2001]


def name(volume):
    return f"vol-{volume:016x}"


def attach(volumed, volume, tgtd):
    volumed.ask("attach", name(volume), "t-00000000000000aa", "64MiB", 1, KEY, "create",
                f"tgtd={tgtd}")


def start(which, uid, socket, *arguments):
    program = for_any_uid(os.path.join(BUILD, "tests", which), os.path.dirname(socket))
    return subprocess.Popen([program, socket, *arguments], text=True,
                            user=uid, group=uid, extra_groups=[], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "HOLDFAST_LOG": "error"})


def check_greedy(socket, uid, volume, most):
    greedy = start("greedy_tgtd", uid, socket, f"{volume:x}")
    serving, kept, refused = (int(number) for number in greedy.stdout.readline().split())
    print(f"  {serving} connections, {kept} KEEPs performed, {refused} refused")
    check(most - 4 <= serving <= most, f"{serving} of {most} connections")
    check(kept >= 1 and kept + refused == 1000 and refused >= 900,
          "a volume has one KEEP under way")
    return greedy


def check_honest(socket):
    honest = start("honest_ring", TGT_UID, socket, *(f"{one:x}" for one in HONEST))
    try:
        check(honest.stdout.readline() == "ready\n", "another tgtd is let in")
        said = honest.communicate(timeout=60)[0].strip()
        check(honest.returncode == 0, said)
    finally:
        honest.kill()


def greed_keeps_nobody_out(folder):
    volumed = Volumed(folder, tgtds=2)
    os.chmod(folder, 0o711)
    os.chmod(volumed.run, 0o711)
    greedy = []
    try:
        volumed.start()
        volumed.use_store()
        socket = f"{volumed.run}/ring.sock"
        for volume in HONEST:
            attach(volumed, volume, 0)
        for volume in GREEDY:
            attach(volumed, volume, 1)
        for uid, volume, most in ((TGT_UID + 1, GREEDY[0], 4), (0, GREEDY[1], 32)):
            greedy.append(check_greedy(socket, uid, volume, most))
            for _ in range(3):
                check_honest(socket)
        check(all(one.poll() is None for one in greedy), "the greedy ones are still there")
        volumed.stop()
    finally:
        for one in greedy:
            one.kill()
            one.wait()
        volumed.end()


story((greed_keeps_nobody_out,))
