"""Keeps the processes of one lab running: starts them in order, starts again what dies, and stops
all of them, last first, on SIGTERM. Usage: supervisor.py DIR [--with-parent].

It writes DIR/pids.json after every change. Its children get a death signal from the kernel, so
that even a killed supervisor leaves nothing behind.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

import layout as lay

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
RESTART_DELAYS_S = (0, 0.1, 0.2, 0.5, 1, 2)  # by how many times it died young in a row
YOUNG_S = 0.3  # dead before it can have done anything: do not start it in a tight loop
STOP_DEADLINE_S = 15


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare_child():
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


class Child:
    def __init__(self, spec, log_dir):
        self.spec = spec
        self.log = os.path.join(log_dir, spec["name"] + ".log")
        self.process = None
        self.started = 0.0
        self.deaths = 0
        self.due = 0.0  # when to start it again; 0 while it runs

    def start(self):
        uid = self.spec.get("uid")
        identity = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.spec["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.spec["env"]}, preexec_fn=prepare_child, **identity)
        self.started = time.monotonic()
        self.due = 0.0

    def reap(self):
        """True if it has died since the last call."""
        if self.process is None or self.process.poll() is None:
            return False
        lived = time.monotonic() - self.started
        print(f"{self.spec['name']} {self.process.pid} ended with {self.process.returncode} "
              f"after {lived:.1f} s", flush=True)
        self.deaths = self.deaths + 1 if lived < YOUNG_S else 0
        delay = RESTART_DELAYS_S[min(self.deaths, len(RESTART_DELAYS_S) - 1)]
        self.process = None
        self.due = time.monotonic() + delay
        return True

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(getattr(signal, "SIG" + self.spec["stop"]))
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            print(f"{self.spec['name']} did not stop in {STOP_DEADLINE_S} s", flush=True)
            self.process.kill()
            self.process.wait()
        self.process = None


def main():
    layout = lay.Layout(sys.argv[1])
    if "--with-parent" in sys.argv:
        die_with_parent()
    waited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    children = [Child(spec, layout.path("log"))
                for spec in lay.processes(layout, lay.read_json(layout.spec_file))]

    def publish():
        pids = {c.spec["name"]: c.process.pid for c in children if c.process}
        lay.write_json(layout.pids_file, {"supervisor": os.getpid(), "pids": pids})

    for child in children:
        child.start()
    publish()
    while True:
        due = [c.due for c in children if c.process is None]
        wait_s = max(0.0, min(due) - time.monotonic()) if due else 3600
        info = signal.sigtimedwait(waited, wait_s)
        if info is not None and info.si_signo in (signal.SIGTERM, signal.SIGINT):
            break
        changed = any([c.reap() for c in children])
        for child in children:
            if child.process is None and child.due <= time.monotonic():
                child.start()
                changed = True
        if changed:
            publish()
    for child in reversed(children):
        child.stop()
    os.unlink(layout.pids_file)


if __name__ == "__main__":
    main()
