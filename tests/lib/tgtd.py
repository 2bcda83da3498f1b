"""A tgtd of its own with the backing store, for scripted tests: in its box, as the product runs it, or
(beneath a sanitizer, whose library must be loaded first) as root with our plugin as the only one."""

import os
import shutil
import subprocess
import sys

from story import (BIN, PLUGIN, TGT_UID, box_config, check, free_ports, process_in, tgtd_argv,
                   tgtd_env, wait_until, write_config)

IQN = "iqn.2026-11.net.holdfast:"


class Tgtd:
    def __init__(self, folder, ring_socket, **env):
        self.folder = folder
        self.boxed = not self.preload()
        self.uid = TGT_UID if self.boxed else 0
        self.run = os.path.join(folder, "tgt")
        self.ring_dir = os.path.dirname(ring_socket)
        for path in (folder, self.ring_dir):
            os.chmod(path, 0o711)
        self.port, = free_ports(1)
        self.control = str(self.port % 32000 + 1)
        self.socket = os.path.join(self.run, f"tgt.{self.control}")
        self.log = os.path.join(folder, "tgtd.log")
        self.env = {**os.environ, **tgtd_env(self.run, ring_socket), **env}
        self.process = None

    @property
    def pid(self):
        return process_in(self.process.pid) if self.boxed else self.process.pid

    @staticmethod
    def preload():
        """A plugin built with a sanitizer needs its library in tgtd from the start."""
        said = subprocess.run(["ldd", PLUGIN], capture_output=True, text=True, check=True).stdout
        found = [line.split()[2] for line in said.splitlines() if "san.so" in line]
        if any("tsan" in name for name in found):
            print("skipped: tgtd does not start beneath a thread sanitizer")
            sys.exit(77)
        return {"LD_PRELOAD": ":".join(found), "ASAN_OPTIONS": "detect_leaks=0"} if found else {}

    def start(self):
        plugins = os.path.join(self.folder, "plugins")
        os.makedirs(plugins, exist_ok=True)
        shutil.copy(PLUGIN, plugins)
        portal = f"127.0.0.1:{self.port}"
        if self.boxed:
            config = os.path.join(self.folder, "tgtd-box.conf")
            write_config(config, box_config(self.run, self.ring_dir, plugins, self.control, portal))
            argv = [os.path.join(BIN, "holdfast-tgtd-box"), "--config", config]
        else:
            os.makedirs(self.run, exist_ok=True)
            argv = tgtd_argv(plugins, self.control, portal)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, env={**self.env, **self.preload()}, stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)
        wait_until("tgtd", lambda: "holdfast" in self.admin("show", "system", allow=True))

    def admin(self, op, mode, *arguments, allow=False):
        done = subprocess.run(["tgtadm", "-C", self.control, "--op", op, "--mode", mode,
                               *arguments], env=self.env, capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL, user=self.uid,
                              group=self.uid, extra_groups=[])
        check(allow or done.returncode == 0, f"tgtadm {op} {mode} {arguments}: {done}")
        return done.stdout if done.returncode == 0 else ""

    def target(self, tid=1):
        self.admin("new", "target", "--tid", str(tid), "--targetname", f"{IQN}{tid}")
        self.admin("bind", "target", "--tid", str(tid), "--initiator-address", "ALL")

    def lun(self, volume, options, tid=1, lun=1, allow=False):
        """True if tgtd took it."""
        self.admin("new", "logicalunit", "--tid", str(tid), "--lun", str(lun), "--bstype",
                   "holdfast", "--backing-store", volume, "--bsopts", options, allow=allow)
        return f"Backing store path: {volume}\n" in self.admin("show", "target")

    def serve(self, volume, mib, options=""):
        """Starts it with that volume as LUN 1 of target 1; the LUN's URL."""
        self.start()
        self.target()
        check(self.lun(volume, f"size={mib << 20}{options}"), "the LUN")
        return self.url()

    def url(self, tid=1, lun=1):
        return f"iscsi://127.0.0.1:{self.port}/{IQN}{tid}/{lun}"

    def end(self):
        if self.process:
            if self.boxed:
                self.process.terminate()  # and wait for tgtd; killed, it would not
            else:
                self.process.kill()
            self.process.wait()
            self.process = None

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()
