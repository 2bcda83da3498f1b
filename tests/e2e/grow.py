#!/usr/bin/python3 -B
"""A volume grows under two sessions, from the provider's command to the bytes in the store.

Promises: both sessions see the unit attention once and the new capacity, and can write past the old
end; the provider shows the new size as served only when the LUN has it; the export has the new
size; shrinking and odd sizes are refused with a reason (invariant 9); a detached volume that grew
has its new size when it is attached.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import (LabError, create, holdfast, iscsi_url, must, must_not,  # noqa: E402
                     refused, show, wait_for_recovery_point)
from story import BUILD, check  # noqa: E402

CLIENT = os.path.join(BUILD, "tests", "grow_client")
MIB = 1 << 20


def grow(lab, name, size):
    return lab.ask("holdfast", "volume", "grow", name, "--size", size, "--wait")


def check_sessions(lab, block_size):
    name = f"grows{block_size}"
    volume = create(lab, name, "64MiB", "--block-size", str(block_size))
    with subprocess.Popen([CLIENT, iscsi_url(volume), str(block_size)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as client:
        said = client.stdout.readline().split()
        check(said == ["ready", str(64 * MIB)], f"before: {said}")
        shown = grow(lab, name, "96MiB")
        check(shown["served_size_bytes"] == shown["size_bytes"] == 96 * MIB, f"shown: {shown}")
        check(shown["block_size"] == block_size, f"shown: {shown}")
        out, _ = client.communicate(f"{96 * MIB}\n", timeout=60)
        check(client.returncode == 0 and out == "grown\n", f"client: {out}")
    print(f"two sessions saw the growth at {block_size}-byte blocks once each")
    return volume


def check_store(lab, volume):
    must(volume, "read -P 0x5a 64M 8k", "write -P 0x33 95M 1M", "flush")
    wait_for_recovery_point(lab, volume)
    lab.command("holdfast", "volume", "detach", volume["volume_id"], "--wait")
    copy = lab.layout.path("copy")
    key = os.path.join(lab.layout.path("gateway", "volumed", "keys"), volume["volume_id"] + ".key")
    lab.command("holdfast-gateway", "export", volume["volume_id"], copy, "--store",
                lab.store["url"], "--key", key)
    check(os.path.getsize(copy) == 96 * MIB, f"export has {os.path.getsize(copy)} bytes")
    with open(copy, "rb") as f:
        f.seek(64 * MIB)
        check(f.read(8192) == b"\x5a" * 8192, "the export lacks what was written past the end")
        f.seek(95 * MIB)
        check(f.read(MIB) == b"\x33" * MIB, "the export lacks the last MiB")
    os.unlink(copy)
    print("the export has the new size and what was written there")


def check_detached(lab, volume):
    grow(lab, volume["volume_id"], "128MiB")
    lab.command("holdfast", "volume", "attach", volume["volume_id"], "--gateway", "lab", "--wait")
    must(volume, "read -P 0x33 95M 1M", "read -P 0 96M 32M", "write -P 1 127M 1M")
    must_not(volume, "read 128M 4k")
    print("a volume that grew while it was detached is attached with its new size")


def check_refusals(lab, volume):
    name = volume["volume_id"]
    said = refused(lab, "holdfast", "volume", "grow", name, "--size", "64MiB")
    check("shrink" in said, said)
    refused(lab, "holdfast", "volume", "grow", name, "--size", f"{129 * MIB + 512}")
    refused(lab, "holdfast", "volume", "grow", name, "--size", "33TiB")
    refused(lab, "holdfast", "volume", "grow", "nothing", "--size", "1GiB")
    refused(lab, "holdfast", "volume", "create", "--gateway", "lab", "--name", "odd", "--size",
            "64MiB", "--block-size", "1024")
    check(show(lab, volume)["size_bytes"] == 128 * MIB, "a refused command changed the size")
    lab.command("holdfast", "volume", "grow", name, "--size", "128MiB", "--wait")
    print("shrinking and odd sizes refused; the same size again changes nothing")


def main():
    if not os.access(CLIENT, os.X_OK):
        raise LabError(f"{CLIENT} is not built")
    with holdfast() as lab:
        check_sessions(lab, 4096)
        volume = check_sessions(lab, 512)
        check_store(lab, volume)
        check_detached(lab, volume)
        check_refusals(lab, volume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
