"""Swarms of simulated gateways (tests/channel/swarm.h) and the provider processes they talk to."""

import json
import os
import signal
import subprocess
import threading
import time

from story import BIN, BUILD, Failure, wait_until, write_config

TOOLS = os.path.join(BUILD, "tests")


def daemon(name, folder, config, extra=(), log_level="info"):
    """Starts bin/NAME with this configuration; its log goes to FOLDER/log."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, "conf")
    write_config(path, config)
    with open(os.path.join(folder, "log"), "ab") as log:
        return subprocess.Popen([os.path.join(BIN, name), "--config", path, *extra],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env={**os.environ, "HOLDFAST_LOG": log_level})


class OneProvider:
    """A signer and one provider process with SQLite, in a folder of their own."""

    def __init__(self, folder, ports, **settings):
        self.folder = folder
        self.run = os.path.join(folder, "run")
        self.endpoint = f"127.0.0.1:{ports[0]}"
        os.makedirs(self.run, mode=0o700, exist_ok=True)
        self.config = {
            "run_dir": self.run, "state_dir": os.path.join(folder, "provider", "state"),
            "channel_listen": self.endpoint, "activation_listen": f"127.0.0.1:{ports[1]}",
            "store_url": f"dir:{folder}/store", **settings}
        self.signer = self.provider = None
        self.log_level = "info"

    @property
    def registry(self):
        return os.path.join(self.config["state_dir"], "registry.db")

    def start_signer(self):
        self.signer = daemon("holdfast-signer", os.path.join(self.folder, "signer"),
                             {"run_dir": self.run,
                              "approval": "no",  # nobody enters ten thousand activation keys
                              "state_dir": os.path.join(self.folder, "signer", "state")})
        wait_until("the signer listens",
                   lambda: os.path.exists(os.path.join(self.run, "signer.sock")))

    def start_provider(self):
        self.provider = daemon("holdfast-provider", os.path.join(self.folder, "provider"),
                               self.config, log_level=self.log_level)

    def ask(self, *argv):
        done = subprocess.run([os.path.join(BIN, "holdfast"), *argv, "--json"],
                              capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "HOLDFAST_PROVIDER_RUN": self.run})
        if done.returncode:
            raise Failure(f"holdfast {' '.join(argv)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def wait_ready(self):
        def ready():
            try:
                return self.ask("info")["ready"]
            except Failure:
                return False
        wait_until("the provider is ready", ready)

    def stop(self):
        for process in (self.provider, self.signer):
            end(process)
        self.provider = self.signer = None


def end(process, how=signal.SIGTERM):
    if process is None or process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def prepare(registry, run_dir, count, seed, out):
    """Makes the gateways known to the registry and has them certified by the signer."""
    subprocess.run([os.path.join(TOOLS, "swarm_prepare"), "--registry", registry, "--run-dir",
                    run_dir, "--count", str(count), "--seed", str(seed), "--out", out],
                   check=True, timeout=600)


class Swarm:
    """One process of simulated gateways; `status` is the newest line it printed."""

    def __init__(self, folder, identities, endpoints, *options):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        argv = [os.path.join(TOOLS, "swarm"), "--identities", identities, "--folder", folder]
        for endpoint in endpoints:
            argv += ["--endpoint", endpoint]
        self.argv = [*argv, *map(str, options)]
        self.process = None
        self.status = {}
        self.history = []

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=log,
                                            stdout=subprocess.PIPE, text=True)
        self.status = {}
        threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True).start()

    def read(self, stream):
        for line in stream:
            self.status = json.loads(line)
            self.history.append(self.status)

    def wait(self, text, deadline_s=30, **wanted):
        """Until each number named is at least what is wanted."""
        def reached():
            if self.process.poll() is not None:
                raise Failure(f"a swarm ended with {self.process.returncode}: {self.folder}/log")
            return all(self.status.get(key, 0) >= value for key, value in wanted.items())
        wait_until(text, reached, deadline_s)

    def stop(self, how=signal.SIGTERM):
        end(self.process, how)

    def effects(self):
        """The ledger: (time_us, kind, gateway, epoch, a, b, c, text) in order."""
        return read_ledger(os.path.join(self.folder, "ledger"))


def read_ledger(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            if not line.endswith("\n"):
                return  # cut off by a kill
            time_us, kind, gateway, epoch, a, b, c, text = line[:-1].split(" ", 7)
            yield int(time_us), kind, gateway, int(epoch), int(a), int(b), int(c), text


def memory_kib(pid):
    """Resident memory of a process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            if line.startswith("Rss:"):
                return int(line.split()[1])
    raise Failure("no Rss")


def slab_kib():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("Slab:"):
                return int(line.split()[1])
    raise Failure("no Slab")


def settle(seconds):
    """Measurements only: lets the machine come to rest."""
    time.sleep(seconds)
