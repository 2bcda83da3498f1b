"""A Holdfast that stays up: lab up|status|down --dir D [--store dir|s3].

`up` starts provider and gateway on loopback under a supervisor, activates the gateway, and returns
when it is connected and every attached volume accepts a login; again with everything running it
changes nothing. `up` and `status` print one JSON object: portal, provider, store, env, keys, pids.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import layout as lay

READY_DEADLINE_S = 60


class LabError(Exception):
    """Something a person has to act on; the text says what."""


def wait_until(what, condition, deadline_s=READY_DEADLINE_S, interval_s=0.05):
    """The first true value of `condition()`, which may raise LabError to stop at once."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {deadline_s} s for {what}")
        time.sleep(interval_s)


class Lab:
    def __init__(self, directory):
        self.layout = lay.Layout(directory)
        self.spec = None
        self.store = None
        if os.path.exists(self.layout.spec_file):
            self.spec = lay.read_json(self.layout.spec_file)
            self.store = self.spec.get("store")

    # ---- its commands

    def env(self):
        return lay.environment(self.layout, self.store)

    def command(self, *argv, timeout_s=120):
        """Runs a program of the product; its standard output."""
        done = subprocess.run([os.path.join(lay.BIN, argv[0]), *argv[1:]], text=True,
                              env={**os.environ, **self.env()}, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, *argv, **keywords):
        """The same with --json."""
        return json.loads(self.command(*argv, "--json", **keywords))

    # ---- state

    def running(self):
        try:
            pids = lay.read_json(self.layout.pids_file)
            pids["pids"] = lay.true_pids(pids["pids"])
            with open(f"/proc/{pids['supervisor']}/cmdline", encoding="utf-8") as f:
                return pids if "supervisor.py" in f.read() else None
        except (OSError, ValueError, KeyError):
            return None

    def status(self):
        pids = self.running()
        if not pids:
            raise LabError(f"no lab is running in {self.layout.dir}")
        return {"portal": lay.address(self.spec, "portal"),
                "portals": [lay.address(self.spec, "portal" + suffix)
                            for suffix in lay.suffixes(self.spec.get("tgtds", 1))],
                "provider": lay.address(self.spec, "channel"),
                "store": self.store["url"],
                "env": self.env(),
                "keys": self.layout.path("gateway", "volumed", "keys"),
                "bin": lay.BIN,
                "pids": pids["pids"]}

    # ---- up and down

    def up(self, store=None, volumed=None, with_parent=False, tgtds=None):
        if self.spec and store and store != self.spec["store_kind"]:
            raise LabError(f"{self.layout.dir} was made with --store {self.spec['store_kind']}; "
                           "use another --dir")
        if self.spec and tgtds and tgtds != self.spec.get("tgtds", 1):
            raise LabError(f"{self.layout.dir} was made with another number of --tgtds; use "
                           "another --dir")
        os.makedirs(self.layout.dir, exist_ok=True)
        with open(self.layout.path("lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.running():
                self.start(store, volumed or {}, with_parent, tgtds or 1)
        self.make_ready()

    def start(self, store, volumed, with_parent, tgtds):
        self.spec = self.layout.create(store, volumed, tgtds)
        self.store = self.open_store()
        self.spec["store"] = self.store
        lay.write_json(self.layout.spec_file, self.spec)
        lay.write_configs(self.layout, self.spec, self.store)
        argv = [sys.executable, "-B", os.path.join(os.path.dirname(__file__), "supervisor.py"),
                self.layout.dir]
        with open(self.layout.path("log", "supervisor.log"), "ab") as log:
            process = subprocess.Popen(argv + (["--with-parent"] if with_parent else []),
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       close_fds=True, start_new_session=True)

        def started():
            if process.poll() is not None:
                raise LabError("the supervisor ended; see " + log.name)
            return self.running()
        wait_until("the supervisor", started)

    def open_store(self):
        if self.spec["store_kind"] == "dir":
            folder = self.layout.path("store")
            os.makedirs(folder, exist_ok=True)
            return {"url": "dir:" + folder}
        self.rgw("start", "--tls")
        rgw = lay.read_json(os.path.join(self.layout.rgw, "rgw.json"))
        return {key: rgw.get(key) for key in ("url", "access_key", "secret_key", "ca")}

    def rgw(self, verb, *options):
        subprocess.run([os.path.join(os.path.dirname(__file__), "rgw"), verb, self.layout.rgw,
                        *options], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def make_ready(self):
        """Activates a new gateway; returns when it is held and its volumes are in service."""
        wait_until("the provider", lambda: self.works("holdfast", "gateway", "list"))
        if not self.gateways():
            self.activate()
        wait_until("the gateway's connection",
                   lambda: any(g.get("connected") for g in self.gateways()))
        wait_until("the volumes", lambda: all(
            v["status"] not in ("creating", "attaching")
            for v in self.ask("holdfast", "volume", "list")))

    def works(self, *argv):
        try:
            return self.ask(*argv) is not None
        except (LabError, ValueError):
            return False

    def gateways(self):
        return self.ask("holdfast", "gateway", "list")

    def activate(self):
        def offered():
            try:
                return self.ask("holdfast-gateway", "activation").get("activation_key")
            except LabError:
                return None
        key = wait_until("the gateway's activation key", offered)
        gateway = self.ask("holdfast", "gateway", "activate", key, "--name", "lab")
        self.command("holdfast", "gateway", "confirm", gateway["gateway_id"])

    def down(self):
        pids = self.running()
        if pids:
            os.kill(pids["supervisor"], signal.SIGTERM)
            wait_until("the supervisor to stop", lambda: not self.running(), 60)
        if self.spec and self.spec["store_kind"] == "s3":
            self.rgw("stop")
            shutil.rmtree(self.layout.rgw, ignore_errors=True)
        self.layout.remove_run()


def main():
    parser = argparse.ArgumentParser(prog="scripts/lab", description=__doc__.split("\n", 1)[0])
    parser.add_argument("verb", choices=("up", "status", "down"))
    parser.add_argument("--dir", required=True, help="state directory of this lab")
    parser.add_argument("--store", choices=("dir", "s3"), help="for a new lab (default: dir)")
    parser.add_argument("--tgtds", type=int, choices=range(1, 9), metavar="1…8",
                        help="of a new lab (default: 1), each with its own portal")
    parser.add_argument("--log-size", default="1GiB", help="of a new lab's upload buffer")
    args = parser.parse_args()
    lab = Lab(args.dir)
    try:
        if args.verb == "up":
            lab.up(args.store, {"log_size": args.log_size}, tgtds=args.tgtds)
        if args.verb == "down":
            lab.down()
        else:
            print(json.dumps(lab.status(), indent=2))
    except LabError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
