#!/usr/bin/python3 -B
"""The data plane on real parts, without agent and provider: tgtd with the plugin, volumed, a
directory as the store, qemu-img and qemu-io as initiators.

Promises: what a client wrote is read back; kill -9 of volumed under a connected initiator costs no
session and nothing acknowledged (invariant 1); everything arrives in the store; without the local
disk the volume comes back from the store alone (invariant 2); restarted with the store away, what the
log holds is there at once.
"""

import filecmp
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import at, qemu_img, qemu_io, qemu_io_argv, refused  # noqa: E402
from story import check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import ASK, Volumed  # noqa: E402

VOLUME = "vol-0000000000000051"
SIZE_MIB = 256


def served(volumed, tgt):
    """A volume with a LUN; its URL."""
    volumed.begin(VOLUME, SIZE_MIB)
    return tgt.serve(VOLUME, SIZE_MIB)


def make_image(path):
    """Random, zero and repeating megabytes, so that each way of storing a chunk is taken."""
    with open(path, "wb") as f:
        for i in range(SIZE_MIB):
            f.write((os.urandom(1 << 20), bytes(1 << 20), bytes([i]) * (1 << 20))[i % 3])


def killed_under_a_client(volumed, url):
    """volumed dies three times while a client writes and verifies; the client must not notice."""
    commands = []
    for i in range(96):
        commands += [f"write -P {i + 1} {2 * i}M 1M", f"read -P {i + 1} {2 * i}M 1M"]
    client = subprocess.Popen(qemu_io_argv(at(url), commands), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    before = volumed.volume(VOLUME)["write_ops"]
    wait_until("writes", lambda: volumed.volume(VOLUME)["write_ops"] > before + 10)
    longest = 0.0
    for _ in range(3):
        volumed.kill()
        longest = max(longest, volumed.start())
        wait_until("the client to go on", lambda: client.poll() is not None or
                   volumed.volume(VOLUME)["write_ops"] > 5)
    said = client.communicate(timeout=120)[0]
    check(client.returncode == 0 and "failed" not in said.lower(), said[-2000:])
    print(f"  3 kills under a client, longest restart {longest:.2f} s")


def the_data_plane(folder):
    volumed = Volumed(folder, log_size="512MiB")
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    image, back = os.path.join(folder, "image"), os.path.join(folder, "back")
    make_image(image)
    try:
        url = served(volumed, tgt)
        began = time.monotonic()
        qemu_img("convert", "-n", "-f", "raw", "-O", "raw", image, url)
        print(f"  image written: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        qemu_img("convert", "-f", "raw", "-O", "raw", url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back from the log")
        print(f"  image read: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        wait_until("the uploads", lambda: volumed.drained(VOLUME), 60)
        one = volumed.volume(VOLUME)
        print(f"  drained after {time.monotonic() - began:.1f} s more: "
              f"{one['uploaded_objects']} objects, {one['uploaded_bytes'] >> 20} MiB")
        volumed.kill()
        volumed.start()
        qemu_img("convert", "-f", "raw", "-O", "raw", url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back after a kill")
        killed_under_a_client(volumed, url)
        qemu_img("convert", "-f", "raw", "-O", "raw", url, image)
        wait_until("the uploads", lambda: volumed.drained(VOLUME), 60)
        volumed.kill()
        os.unlink(os.path.join(volumed.state, "log"))
        volumed.start()
        began = time.monotonic()
        qemu_img("convert", "-f", "raw", "-O", "raw", url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back from the store alone")
        print(f"  image read from the store: {time.monotonic() - began:.1f} s")
        qemu_io(url, "write -P 0x77 5M 1M", "flush", "read -P 0x77 5M 1M")
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


def giving_up_on_a_store(folder):
    """A detach drains; with the store away only force ends it, and the loss is what was not
    uploaded, no more (invariant 2)."""
    volumed = Volumed(folder)
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    try:
        url = served(volumed, tgt)
        qemu_io(url, "write -P 0x11 0 4M", "flush")
        wait_until("the uploads", lambda: volumed.drained(VOLUME))
        os.rename(volumed.store, volumed.store + "-away")
        qemu_io(url, "write -P 0x22 1M 1M", "flush", "read -P 0x22 1M 1M")
        detach = subprocess.Popen([ASK, os.path.join(volumed.run, "volumed.sock"), "detach",
                                   VOLUME], stdout=subprocess.DEVNULL)
        wait_until("the detach", lambda: volumed.volume(VOLUME)["state"] == "detaching")
        refused(url, "write -P 0x33 2M 1M")
        check(detach.poll() is None, "a detach must wait for its uploads")
        volumed.ask("detach-force", VOLUME)
        detach.wait(timeout=30)
        check(volumed.volume(VOLUME)["state"] == "detached", f"{volumed.volume(VOLUME)}")
        refused(url, "read 0 1M")
        os.rename(volumed.store + "-away", volumed.store)
        volumed.attach(VOLUME, f"{SIZE_MIB}MiB", 2)
        qemu_io(url, "read -P 0x11 0 4M", "write -P 0x44 1M 1M", "flush",
                "read -P 0x44 1M 1M")
        volumed.ask("detach", VOLUME)
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


def a_restart_without_the_store(folder):
    """Right after kill -9 with the store away: what the log holds is read and written at once; what
    only the store has waits for it, and is right when it is back (invariants 1, 2, 6)."""
    volumed = Volumed(folder)
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    try:
        url = served(volumed, tgt)
        qemu_io(url, "write -P 0x11 0 8M", "flush")
        wait_until("the uploads", lambda: volumed.drained(VOLUME))
        os.rename(volumed.store, volumed.store + "-away")
        qemu_io(url, "write -P 0x22 1M 1M", "write -P 0x23 16M 1M", "write -z 20M 1M",
                "discard 24M 1M", "flush")
        for end in (volumed.kill, volumed.stop):
            end()
            volumed.start()
            began = time.monotonic()
            qemu_io(url, "read -P 0x22 1M 1M", "read -P 0x23 16M 1M", "read -P 0 20M 1M",
                    "read -P 0 24M 1M", "write -P 0x24 2M 1M", "flush", "read -P 0x24 2M 1M",
                    "read -P 0x22 1M 512k")
            took = time.monotonic() - began
            check(took < 5, f"reads of the log took {took:.1f} s with the store away")
            check(volumed.volume(VOLUME)["state"] == "opening", "the store is away")
        # What was uploaded may still be in the log; of what was never written only the store knows.
        waiting = subprocess.Popen(qemu_io_argv(at(url), ["read -P 0x11 4M 1M",
                                                          "read -P 0x11 0 1M",
                                                          "read -P 0 40M 1M"]),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   stdin=subprocess.DEVNULL)
        qemu_io(url, "read -P 0x22 1M 1M")
        check(waiting.poll() is None, "what only the store has waits for it")
        os.rename(volumed.store + "-away", volumed.store)
        said = waiting.communicate(timeout=60)[0]
        check(waiting.returncode == 0 and "failed" not in said.lower(), said[-2000:])
        wait_until("the uploads", lambda: volumed.drained(VOLUME))
        qemu_io(url, "read -P 0x11 0 1M", "read -P 0x22 1M 1M", "read -P 0x24 2M 1M",
                "read -P 0x11 3M 5M", "read -P 0x23 16M 1M")
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


story((the_data_plane, giving_up_on_a_store, a_restart_without_the_store))
