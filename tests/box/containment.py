#!/usr/bin/python3 -B
"""What a tgtd that was taken over can do: nothing but serve iSCSI.

Promises: from inside the box no file, key, socket, process or connection of anybody else can be
reached and no program started; each of these attempts succeeds without the box, so that each can
fail this test. tgtd in a running Holdfast has its own uid, no capability, the filter, and a file
tree of what it needs. A launcher that is killed takes its tgtd along; tgtd that dies is started
again at once. What the kernel or the configuration lacks is said, not passed over.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import create, holdfast, must, qemu_io, wait_until  # noqa: E402
from story import (BIN, BUILD, TGT_UID, box_config, check, for_any_uid, free_ports,  # noqa: E402
                   process_in, write_config)

PROBE = os.path.join(BUILD, "tests", "box_probe")
CLONE_NEWNS, MNT_DETACH = 0x20000, 2
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20
BOX = os.path.join(BIN, "holdfast-tgtd-box")
# Only the kernel's Landlock of this version denies it; before, the journal says that it is open.
NEEDS_LANDLOCK = {"connect_tcp": 4, "listen_elsewhere": 4, "connect_abstract": 6}


def landlock_version():
    libc = ctypes.CDLL(None)
    return max(0, libc.syscall(444, None, 0, 1))


class Outside:
    """What the probe aims at: a running Holdfast, and things of this test."""

    def __init__(self, lab, folder):
        self.folder = folder
        run = os.path.join(lab.layout.run, "gateway")
        pids = lab.status()["pids"]
        create(lab, "probed", "64MiB")
        keys = lab.layout.path("gateway", "volumed", "keys")
        self.plugins = os.path.join(folder, "plugins")
        self.ring = os.path.join(folder, "ring")
        self.own = os.path.join(folder, "own")
        for path in (folder, self.plugins, self.ring):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        self.port, self.free_port, self.boot = free_ports(3)
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.abstract = socket.socket(socket.AF_UNIX)
        name = f"holdfast-probe-{os.getpid()}"
        self.abstract.bind("\0" + name)
        self.abstract.listen()
        self.ring_socket = socket.socket(socket.AF_UNIX)
        self.ring_socket.bind(os.path.join(self.ring, "ring.sock"))
        self.targets = {
            "state": lab.layout.path("gateway", "volumed"),
            "volume_key": os.path.join(keys, os.listdir(keys)[0]),
            "identity_key": lab.layout.path("gateway", "agent", "identity.key"),
            "run": run, "volumed": f"{run}/volumed.sock", "agent": f"{run}/agent.sock",
            "broker": f"{run}/broker.sock", "broker_pid": pids["holdfast-broker"],
            "volumed_pid": pids["holdfast-volumed"], "port": self.port,
            "free_port": self.free_port, "abstract": name,
            "address": hex(first_address(pids["holdfast-broker"])),
        }

    def write_targets(self, path, plugins, ring, own):
        write = {**self.targets, "program": PROBE, "plugin": f"{plugins}/decoy",
                 "in_ring_dir": f"{ring}/written", "ring_socket": f"{ring}/ring.sock",
                 "ring_decoy": f"{ring}/decoy", "own": f"{own}/written"}
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(f"{key} {value}\n" for key, value in write.items())

    def prepare(self):
        for path in (f"{self.plugins}/decoy", f"{self.ring}/decoy"):
            with open(path, "w", encoding="utf-8"):
                pass
            os.chown(path, TGT_UID, TGT_UID)


def first_address(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        return int(f.readline().split("-")[0], 16)


def said(text):
    lines = text.split("\n")
    check("end" in lines, f"the probe did not come to its end: {text}")
    return {line.split()[0]: line.split()[1:] for line in lines[:lines.index("end")]
            if len(line.split()) == 3 and line.split()[1] in ("done", "denied")}


def without_box(outside):
    outside.prepare()
    os.makedirs(outside.own, exist_ok=True)
    targets = os.path.join(outside.folder, "targets")
    outside.write_targets(targets, outside.plugins, outside.ring, outside.own)
    done = subprocess.run([PROBE], env={**os.environ, "HOLDFAST_PROBE_TARGETS": targets},
                          capture_output=True, text=True, timeout=60, check=False)
    return said(done.stdout)


def run_box(outside, through=(), **config):
    path = os.path.join(outside.folder, "box.conf")
    write_config(path, {**box_config(outside.own, outside.ring, outside.plugins, 7,
                                     f"127.0.0.1:{outside.boot}"),
                        "portals": f"127.0.0.1:{outside.boot}", "program": PROBE, **config})
    return subprocess.run([*through, BOX, "--config", path], capture_output=True, text=True,
                          timeout=60, check=False)


def in_box(outside, through=()):
    outside.prepare()
    inside = "/usr/lib/tgt/backing-store"
    outside.write_targets(os.path.join(outside.plugins, "targets"), inside, "/ring", "/run")
    done = run_box(outside, through)
    check(done.returncode == 0, f"the box: {done.stderr}")
    return said(done.stderr)


def check_attempts(outside):
    free, boxed, version = without_box(outside), in_box(outside), landlock_version()
    check(free.keys() == boxed.keys(), f"attempts differ: {free.keys() ^ boxed.keys()}")
    check(boxed.pop("write_own_folder")[0] == "done", "its own folder is tgtd's")
    free.pop("write_own_folder")
    for name, result in boxed.items():
        check(free[name][0] == "done", f"{name} fails without the box too: {free[name]}")
        if version >= NEEDS_LANDLOCK.get(name, 0):
            check(result[0] == "denied", f"{name} succeeds in the box")
    print(f"{len(boxed)} attempts work without the box, none in it (Landlock {version})")


def in_chroot(command):
    """Runs the command where / is a folder of a tmpfs and no mount point, in a mount namespace whose
    mounts are shared, as a machine's are."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = f"/holdfast-chroot-{os.getpid()}"
    root = os.path.join(place, "root")

    def mount(source, target, kind, flags):
        if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) != 0:
            raise OSError(ctypes.get_errno(), f"mount {source} {target}")

    def enter():
        os.chroot(root)
        os.chdir("/")

    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    os.mkdir(place)
    try:
        mount("tmpfs", place, "tmpfs", 0)
        mount("none", place, "", MS_SHARED)
        os.mkdir(root)
        for name in os.listdir("/"):
            here = os.path.join(root, name)
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), here)
            elif os.path.isdir(f"/{name}") and f"/{name}" != place:
                os.mkdir(here)
                mount(f"/{name}", here, "", MS_BIND | MS_REC)
        done = subprocess.run(command, preexec_fn=enter, check=False)
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            check("own.root" not in f.read(), "the box's mounts show outside")
    finally:
        libc.umount2(place.encode(), MNT_DETACH)
        os.rmdir(place)
    return done.returncode


def check_chroot(outside):
    boxed = in_box(outside, [sys.executable, "-B", os.path.realpath(__file__), "--in-chroot"])
    check(boxed.pop("write_own_folder")[0] == "done", "its own folder is tgtd's")
    for name, result in boxed.items():
        if landlock_version() >= NEEDS_LANDLOCK.get(name, 0):
            check(result[0] == "denied", f"{name} succeeds in the box from a chroot")
    print("from a plain chroot the box is the same")


def check_refusals(outside):
    done = run_box(outside, landlock_least=64)
    check(done.returncode != 0 and "Landlock" in done.stderr, f"landlock_least: {done.stderr}")
    done = run_box(outside, plugin_dir=f"{outside.folder}/none")
    check(done.returncode != 0 and "plugin_dir" in done.stderr, f"plugin_dir: {done.stderr}")
    done = run_box(outside, uid=0)
    check(done.returncode != 0 and "uid" in done.stderr, f"uid: {done.stderr}")
    os.chmod(outside.plugins, 0o700)
    done = run_box(outside)
    check(done.returncode != 0 and "cannot enter" in done.stderr, f"closed: {done.stderr}")
    os.chmod(outside.plugins, 0o755)
    # From where that uid may go, as the tree may lie where it may not.
    with tempfile.TemporaryDirectory() as folder:
        box = for_any_uid(BOX, folder)
        config = shutil.copy(os.path.join(outside.folder, "box.conf"), folder)
        os.chmod(config, 0o644)
        done = subprocess.run([box, "--config", config], capture_output=True, text=True,
                              timeout=60, check=False, user=TGT_UID, group=TGT_UID,
                              extra_groups=[])
    check(done.returncode != 0 and "only root" in done.stderr, f"not root: {done.stderr}")
    print("a box that cannot be made says why")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return {line.split(":")[0]: line.split(":")[1].split() for line in f}


def check_tgtd(lab):
    pid = lab.status()["pids"]["tgtd"]
    status = status_of(pid)
    check(status["Uid"] == [str(TGT_UID)] * 4 and status["Gid"] == [str(TGT_UID)] * 4,
          f"uid: {status['Uid']}")
    check(status["Groups"] == [], f"groups: {status['Groups']}")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        check(int(status[name][0], 16) == 0, f"{name}: {status[name]}")
    check(status["NoNewPrivs"] == ["1"] and status["Seccomp"] == ["2"], "no filter")
    check(status["NSpid"][-1] == "1", "it sees other processes")
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        mounts = {line.split()[4]: line.split()[5].split(",") for line in f}
    writable = [path for path, options in mounts.items() if "rw" in options]
    check(sorted(writable) == ["/dev/null", "/run"], f"writable: {writable}")
    for number in os.listdir(f"/proc/{pid}/fd"):
        opened = os.readlink(f"/proc/{pid}/fd/{number}")
        check(opened.startswith(("/run/", "socket:", "pipe:", "anon_inode:", "/dev/null", "/memfd:",
                                 lab.layout.run)), f"it holds {opened}")
    run = os.path.join(lab.layout.run, "gateway")
    for path in (lab.layout.run, run, f"{run}/ring", f"{run}/volumed.sock", f"{run}/broker.sock"):
        check(os.stat(path).st_uid == 0, f"{path} is not root's")
    print(f"tgtd is uid {TGT_UID}, process 1 of 1, sees {len(mounts)} mounts, writes to /run")


def check_deaths(lab):
    volume = create(lab, "outlives", "64MiB")
    must(volume, "write -P 3 0 1M")
    for victim in ("tgtd", "box"):
        pids = lab.status()["pids"]
        with open(f"/proc/{pids['tgtd']}/status", encoding="utf-8") as f:
            parent = next(int(line.split()[1]) for line in f if line.startswith("PPid"))
        began = time.monotonic()
        os.kill(parent if victim == "box" else pids["tgtd"], signal.SIGKILL)
        wait_until("the old tgtd to end", lambda: not os.path.exists(f"/proc/{pids['tgtd']}"), 5)
        wait_until("the next tgtd",
                   lambda: lab.status()["pids"].get("tgtd", pids["tgtd"]) != pids["tgtd"], 5)
        wait_until("the volume", lambda: qemu_io(volume, "read -P 3 0 1M")[0] == 0, 10)
        print(f"{victim} killed: served again after {time.monotonic() - began:.2f} s")


def main():
    if sys.argv[1:2] == ["--in-chroot"]:
        return in_chroot(sys.argv[2:])
    with holdfast() as lab:
        outside = Outside(lab, lab.layout.path("probe"))
        check_tgtd(lab)
        check_attempts(outside)
        check_chroot(outside)
        check_refusals(outside)
        check_deaths(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
