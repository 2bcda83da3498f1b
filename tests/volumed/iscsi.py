#!/usr/bin/python3 -B
"""The data plane on real parts, without agent and provider: tgtd with the plugin, volumed, a
directory as the store, qemu-img and qemu-io as initiators.

Promises: what a client wrote is read back; kill -9 of volumed under a connected initiator costs no
session and nothing acknowledged (invariant 1); everything arrives in the store; without the local
disk the volume comes back from the store alone (invariant 2).
"""

import filecmp
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from volumed import BUILD, Volumed, check, story, wait_until  # noqa: E402

VOLUME = "vol-0000000000000051"
IQN = "iqn.2026-11.net.holdfast:51"
PLUGINS = "/usr/lib/tgt/backing-store"
SIZE_MIB = 256


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Tgtd:
    """tgtd in a mount namespace of its own, where our plugin is the only one."""

    def __init__(self, volumed):
        self.volumed = volumed
        self.port = free_port()
        self.control = str(self.port % 32000 + 1)
        self.env = {**os.environ, "TGT_IPC_SOCKET": os.path.join(volumed.run, "tgt"),
                    "HOLDFAST_RING_SOCKET": os.path.join(volumed.run, "ring.sock")}
        self.process = None

    def preload(self, plugin):
        """A plugin built with a sanitizer needs its library in tgtd from the start."""
        said = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=True).stdout
        found = [line.split()[2] for line in said.splitlines() if "san.so" in line]
        if any("tsan" in name for name in found):
            print("skipped: tgtd does not start beneath a thread sanitizer")
            sys.exit(0)
        return {"LD_PRELOAD": ":".join(found), "ASAN_OPTIONS": "detect_leaks=0"} if found else {}

    def start(self):
        folder = os.path.join(self.volumed.folder, "plugin")
        os.makedirs(folder, exist_ok=True)
        plugin = os.path.join(BUILD, "lib", "bs_holdfast.so")
        shutil.copy(plugin, folder)
        with open(os.path.join(self.volumed.folder, "tgtd.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c",
                 'mkdir -p "$2" && mount --bind "$1" "$2" && exec tgtd -f -C "$3" --iscsi "portal=$4"', "tgtd",
                 folder, PLUGINS, self.control, f"127.0.0.1:{self.port}"],
                env={**self.env, **self.preload(plugin)}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until("tgtd", lambda: "holdfast" in self.admin("show", "system", allow=True))

    def admin(self, op, mode, *arguments, allow=False):
        done = subprocess.run(["tgtadm", "-C", self.control, "--op", op, "--mode", mode,
                               *arguments], env=self.env, capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        check(allow or done.returncode == 0, f"tgtadm {op} {mode} {arguments}: {done}")
        return done.stdout

    def provision(self):
        self.admin("new", "target", "--tid", "1", "--targetname", IQN)
        self.admin("new", "logicalunit", "--tid", "1", "--lun", "1", "--bstype", "holdfast",
                   "--backing-store", VOLUME, "--bsopts", f"size={SIZE_MIB << 20}")
        self.admin("bind", "target", "--tid", "1", "--initiator-address", "ALL")

    @property
    def url(self):
        return f"iscsi://127.0.0.1:{self.port}/{IQN}/1"

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def qemu_img(*arguments):
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, timeout=120,
                          check=False, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, f"qemu-img {arguments}: {done.stderr}")


def qemu_io(url, *commands):
    argv = ["qemu-io", "-f", "raw", url] + [x for c in commands for x in ("-c", c)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    check(done.returncode == 0 and "failed" not in said.lower(), f"{commands}: {said}")


def make_image(path):
    """Random, zero and repeating megabytes, so that each way of storing a chunk is taken."""
    with open(path, "wb") as f:
        for i in range(SIZE_MIB):
            f.write((os.urandom(1 << 20), bytes(1 << 20), bytes([i]) * (1 << 20))[i % 3])


def killed_under_a_client(volumed, tgt):
    """volumed dies three times while a client writes and verifies; the client must not notice."""
    commands = []
    for i in range(96):
        commands += [f"write -P {i + 1} {2 * i}M 1M", f"read -P {i + 1} {2 * i}M 1M"]
    argv = ["qemu-io", "-f", "raw", tgt.url] + [x for c in commands for x in ("-c", c)]
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              stdin=subprocess.DEVNULL)
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
    tgt = Tgtd(volumed)
    image, back = os.path.join(folder, "image"), os.path.join(folder, "back")
    make_image(image)
    try:
        volumed.start()
        volumed.use_store()
        volumed.attach(VOLUME, f"{SIZE_MIB}MiB", 1, "create")
        tgt.start()
        tgt.provision()
        began = time.monotonic()
        qemu_img("convert", "-n", "-f", "raw", "-O", "raw", image, tgt.url)
        print(f"  image written: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        qemu_img("convert", "-f", "raw", "-O", "raw", tgt.url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back from the log")
        print(f"  image read: {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        wait_until("the uploads", lambda: volumed.drained(VOLUME), 60)
        one = volumed.volume(VOLUME)
        print(f"  drained after {time.monotonic() - began:.1f} s more: "
              f"{one['uploaded_objects']} objects, {one['uploaded_bytes'] >> 20} MiB")
        volumed.kill()
        volumed.start()
        qemu_img("convert", "-f", "raw", "-O", "raw", tgt.url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back after a kill")
        killed_under_a_client(volumed, tgt)
        qemu_img("convert", "-f", "raw", "-O", "raw", tgt.url, image)
        wait_until("the uploads", lambda: volumed.drained(VOLUME), 60)
        volumed.kill()
        os.unlink(os.path.join(volumed.state, "log"))
        volumed.start()
        began = time.monotonic()
        qemu_img("convert", "-f", "raw", "-O", "raw", tgt.url, back)
        check(filecmp.cmp(image, back, shallow=False), "read back from the store alone")
        print(f"  image read from the store: {time.monotonic() - began:.1f} s")
        qemu_io(tgt.url, "write -P 0x77 5M 1M", "flush", "read -P 0x77 5M 1M")
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


def refused(url, *commands):
    argv = ["qemu-io", "-f", "raw", url] + [x for c in commands for x in ("-c", c)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    check(done.returncode != 0 or "failed" in done.stdout + done.stderr, f"{commands} worked")


def giving_up_on_a_store(folder):
    """A detach drains; with the store away only force ends it, and the loss is what was not
    uploaded, no more (invariant 2)."""
    volumed = Volumed(folder)
    tgt = Tgtd(volumed)
    try:
        volumed.start()
        volumed.use_store()
        volumed.attach(VOLUME, f"{SIZE_MIB}MiB", 1, "create")
        tgt.start()
        tgt.provision()
        qemu_io(tgt.url, "write -P 0x11 0 4M", "flush")
        wait_until("the uploads", lambda: volumed.drained(VOLUME))
        os.rename(volumed.store, volumed.store + "-away")
        qemu_io(tgt.url, "write -P 0x22 1M 1M", "flush", "read -P 0x22 1M 1M")
        detach = subprocess.Popen([os.path.join(BUILD, "tests", "ask_volumed"),
                                   os.path.join(volumed.run, "volumed.sock"), "detach", VOLUME],
                                  stdout=subprocess.DEVNULL)
        wait_until("the detach", lambda: volumed.volume(VOLUME)["state"] == "detaching")
        refused(tgt.url, "write -P 0x33 2M 1M")
        check(detach.poll() is None, "a detach must wait for its uploads")
        volumed.ask("detach-force", VOLUME)
        detach.wait(timeout=30)
        check(volumed.volume(VOLUME)["state"] == "detached", f"{volumed.volume(VOLUME)}")
        refused(tgt.url, "read 0 1M")
        os.rename(volumed.store + "-away", volumed.store)
        volumed.attach(VOLUME, f"{SIZE_MIB}MiB", 2)
        qemu_io(tgt.url, "read -P 0x11 0 4M", "write -P 0x44 1M 1M", "flush",
                "read -P 0x44 1M 1M")
        volumed.ask("detach", VOLUME)
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


story((the_data_plane, giving_up_on_a_store))
