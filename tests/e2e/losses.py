#!/usr/bin/python3 -B
"""What a gateway loses and what it keeps, on real parts.

Promises: without its local disk a volume opens at the recovery point from the store alone; with the
provider gone nothing changes for the LUNs; with the store gone writes and reads of what the log has
go on, and uploads resume by themselves (invariant 6); a damaged object is refused by name, never
served (invariant 8).
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import (LabError, create, holdfast, must, refused, show,  # noqa: E402
                     wait_for_recovery_point, wait_until)


def check_provider_gone(lab, volume):
    for name in ("holdfast-provider", "holdfast-signer"):
        os.kill(lab.status()["pids"][name], signal.SIGSTOP)
    must(volume, "write -P 0x31 1M 1M", "flush", "read -P 0x31 1M 1M")
    for name in ("holdfast-provider", "holdfast-signer"):
        os.kill(lab.status()["pids"][name], signal.SIGCONT)
    print("provider and signer stopped: writes and reads go on")


def check_store_gone(lab, volume):
    store, away = lab.layout.path("store"), lab.layout.path("store-away")
    os.rename(store, away)
    must(volume, "write -P 0x32 2M 1M", "flush", "read -P 0x32 2M 1M")
    wait_until("the lag to be seen", lambda: show(lab, volume)["recovery_point_lag_bytes"] > 0)
    lagging = show(lab, volume)
    if lagging["recovery_point_age_seconds"] < 0:
        raise LabError(f"no age: {lagging}")
    os.kill(lab.status()["pids"]["holdfast-volumed"], signal.SIGKILL)
    must(volume, "write -P 0x33 3M 1M", "flush", "read -P 0x32 2M 1M", "read -P 0x33 3M 1M")
    os.rename(away, store)
    wait_for_recovery_point(lab, volume)
    print("object store gone, and volumed killed meanwhile: writes and reads of the log go on; "
          "uploads resumed by themselves")


def check_local_disk_lost(lab, volume):
    wait_for_recovery_point(lab, volume)
    point = show(lab, volume)["recovery_point"]
    lab.down()
    os.unlink(lab.layout.path("gateway", "volumed", "log"))
    lab.up()
    must(volume, "read -P 0x31 1M 1M", "read -P 0x32 2M 1M", "read -P 0x33 3M 1M",
         "write -P 0x34 4M 1M", "flush", "read -P 0x34 4M 1M")
    wait_for_recovery_point(lab, volume)
    if show(lab, volume)["recovery_point"] <= point:
        raise LabError(f"the recovery point did not move on from {point}")
    print("local disk lost: the volume opened from the store alone and goes on")


def check_damaged_object(lab, volume):
    lab.down()
    found = []
    for folder, _, names in os.walk(lab.layout.path("store")):
        found += [os.path.join(folder, n) for n in names if n.isdigit() or len(n) == 16]
    largest = max((f for f in found if "claims" not in f), key=os.path.getsize)
    with open(largest, "r+b") as f:
        f.seek(os.path.getsize(largest) - 100)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 1]))
    copy = lab.layout.path("copy")
    said = refused(lab, "holdfast-gateway", "export", volume["volume_id"], copy, "--store",
                   lab.store["url"], "--key", os.path.join(
                       lab.layout.path("gateway", "volumed", "keys"),
                       volume["volume_id"] + ".key"))
    if os.path.basename(largest) not in said:
        raise LabError(f"the refusal does not name {largest}: {said}")
    if os.path.exists(copy):
        raise LabError("a damaged export was left where a good one is expected")
    print("one flipped bit in an object: export refused it by name")


def main():
    with holdfast() as lab:
        volume = create(lab, "v")
        must(volume, "write -P 0x30 0 1M", "flush")
        check_provider_gone(lab, volume)
        check_store_gone(lab, volume)
        check_local_disk_lost(lab, volume)
        check_damaged_object(lab, volume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
