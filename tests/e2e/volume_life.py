#!/usr/bin/python3 -B
"""The life of a volume as its administrator sees it, on real parts.

Promises: CHAP, initiator names and addresses are enforced (invariant 7); detach drains and attach
finds everything; delete leaves nothing in the store; what is refused says why (invariant 9).
"""

import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import (LabError, create, holdfast, must, must_not, refused,  # noqa: E402
                     show, wait_until)

SECRET = "correct-horse-9"
OTHER = "iqn.2026-11.net.holdfast:stranger"


def secret_file(text):
    f = tempfile.NamedTemporaryFile("w", suffix=".secret")
    f.write(text + "\n")
    f.flush()
    return f


def check_chap(lab):
    with secret_file(SECRET) as f:
        volume = create(lab, "chap", "64MiB", "--chap-user", "alice", "--chap-secret-file", f.name)
    must_not(volume, "read 0 4k")
    must_not(volume, "read 0 4k", user=("alice", "wrong-horse-99"))
    must_not(volume, "read 0 4k", user=("bob", SECRET))
    must(volume, "write -P 7 0 1M", "read -P 7 0 1M", user=("alice", SECRET))
    for name in os.listdir(lab.layout.path("log")):
        with open(lab.layout.path("log", name), encoding="utf-8", errors="replace") as f:
            if SECRET in f.read():
                raise LabError(f"the secret stands in log/{name}")
    print("CHAP: none, wrong secret, wrong user refused; right one served; secret in no log")


def check_initiators(lab):
    volume = create(lab, "named", "64MiB", "--initiator", "iqn.2026-11.net.holdfast:test")
    must(volume, "write -P 1 0 4k")
    must_not(volume, "read 0 4k", initiator=OTHER)
    print("initiator list: the named one served, another refused")


def objects(lab, volume):
    found = []
    for folder, _, names in os.walk(lab.layout.path("store")):
        if volume["volume_id"] in folder:
            found += [os.path.join(folder, n) for n in names]
    return found


def check_detach_attach(lab):
    volume = create(lab, "moves", "64MiB")
    must(volume, "write -P 0x21 0 8M", "write -P 0x22 4M 64k", "flush")
    lab.command("holdfast", "volume", "detach", "moves", "--wait")
    detached = show(lab, volume)
    if detached["status"] != "detached":
        raise LabError(f"after detach: {detached}")
    must_not(volume, "read 0 4k")
    lab.command("holdfast", "volume", "attach", "moves", "--gateway", "lab", "--wait")
    must(volume, "read -P 0x21 0 4M", "read -P 0x22 4M 64k", "read -P 0 8M 8M")
    print("detach drained and closed the LUN; attach found every byte")
    return volume


def check_delete(lab, volume):
    if not objects(lab, volume):
        raise LabError("no object of the volume in the store before its deletion")
    lab.command("holdfast", "volume", "delete", "moves", "--wait")
    must_not(volume, "read 0 4k")
    wait_until("the objects to be gone", lambda: not objects(lab, volume))
    if any(v["volume_id"] == volume["volume_id"]
           for v in lab.ask("holdfast", "volume", "list")):
        raise LabError("the deleted volume is still listed")
    print("delete: LUN gone, no object left, no longer listed")


def check_refusals(lab):
    wrong = (
        ("holdfast", "volume", "create", "--gateway", "nowhere", "--name", "x", "--size", "1GiB"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "chap", "--size", "1GiB"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "x", "--size", "1 potato"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "x", "--size", "513"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "../x", "--size", "1GiB"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "x", "--size", "1GiB",
         "--initiator", "not an initiator"),
        ("holdfast", "volume", "create", "--gateway", "lab", "--name", "x", "--size", "1GiB",
         "--chap-user", "u"),
        ("holdfast", "volume", "show", "vol-ffffffffffffffff"),
        ("holdfast", "volume", "attach", "chap", "--gateway", "lab"),
        ("holdfast", "volume", "frobnicate"),
        ("holdfast", "gateway", "activate", "0000-0000", "--name", "y"),
        ("holdfast-gateway", "export", "vol-ffffffffffffffff", "/dev/null"),
    )
    for argv in wrong:
        said = refused(lab, *argv).strip()
        print(f"  {' '.join(argv[1:])}\n    → {said.splitlines()[0]}")
    print(f"{len(wrong)} wrong commands refused with a reason")


def main():
    with holdfast() as lab:
        check_chap(lab)
        check_initiators(lab)
        check_delete(lab, check_detach_attach(lab))
        check_refusals(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
