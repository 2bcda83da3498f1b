"""A holdfast-volumed of its own in a folder, for scripted tests."""

import json
import os
import signal
import subprocess
import time

from story import BIN, BUILD, TGT_UID, Failure, check, wait_until, write_config

ASK = os.path.join(BUILD, "tests", "ask_volumed")
KEY = "5a" * 32
TENANT = "t-00000000000000aa"

# libuv closes descriptors by a bare system call, which a thread sanitizer does not see: the next
# owner of the number looks like a race with the last one.
os.environ.setdefault("TSAN_OPTIONS", "ignore_noninstrumented_modules=1")


class Volumed:
    program = os.path.join(BIN, "holdfast-volumed")

    def __init__(self, folder, **config):
        self.folder = folder
        self.run = os.path.join(folder, "run")
        self.state = os.path.join(folder, "state")
        self.store = os.path.join(folder, "store")
        os.makedirs(self.run, exist_ok=True)
        os.makedirs(self.store, exist_ok=True)
        self.config = os.path.join(folder, "volumed.conf")
        self.log = os.path.join(folder, "volumed.log")
        self.process = None
        values = {"run_dir": self.run, "state_dir": self.state, "log_size": "256MiB",
                  "segment_size": "32MiB", "tgt_uid": TGT_UID, **config}
        write_config(self.config, values)

    def start(self):
        """Starts it and returns the seconds until its control socket answered."""
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program, "--config", self.config], stderr=log,
                                            stdin=subprocess.DEVNULL)
        wait_until("volumed to answer", self.answers)
        return time.monotonic() - began

    def begin(self, volume, mib, *flags):
        """Starts it for the first time, with its store and a new volume."""
        self.start()
        self.use_store()
        self.attach(volume, f"{mib}MiB", 1, "create", *flags)

    def answers(self):
        check(self.process.poll() is None, f"volumed ended with {self.process.poll()}")
        if not os.path.exists(os.path.join(self.run, "volumed.sock")):
            return False
        status = self.ask("status", allow=True)
        return status.get("status", {}).get("pid") == self.process.pid

    def stop(self):
        """SIGTERM; returns the seconds it took. It must end with 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self.process = None
        check(status == 0, f"volumed ended with {status} after SIGTERM")
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def end(self):
        if self.process:
            self.kill()

    def ask(self, *question, allow=False):
        """The answer; with `allow` an error is an answer too."""
        done = subprocess.run([ASK, os.path.join(self.run, "volumed.sock"),
                               *(str(q) for q in question)], capture_output=True, text=True,
                              timeout=90, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0 and not allow:
            raise Failure(f"{' '.join(map(str, question))}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def status(self):
        return self.ask("status")["status"]

    def volume(self, volume):
        for one in self.status()["volumes"]:
            if one["volume"] == volume:
                return one
        return None

    def use_store(self):
        self.ask("store", "dir:" + self.store)

    def attach(self, volume, size="64MiB", epoch=1, *flags):
        return self.ask("attach", volume, TENANT, size, epoch, KEY, *flags)

    def drained(self, volume):
        one = self.volume(volume)
        return one and one["state"] == "attached" and one["lag_bytes"] == 0

    def objects(self):
        return [os.path.join(root, name) for root, _, names in os.walk(self.store)
                for name in names if ".holdfast" not in os.path.join(root, name)]

    def log_text(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()
