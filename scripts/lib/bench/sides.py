"""What is measured: Holdfast, and its peers as tgtd's own backing stores, each in a tgtd of its own
so that its processor time is its own. All files are on the same disk, except the peer in memory."""

import json
import os
import subprocess
import tempfile
import time

import layout as lay
import machine
from lab import Lab, LabError, wait_until

IQN = "iqn.2026-11.net.holdfast:bench-"
SPAN = 1 << 30  # of a LUN
LUNS = 8
LOG = {"log_size": "8GiB", "segment_size": "64MiB"}  # writes slow down when half is used
SETTLE_DEADLINE_S = 180
# The broker gives Holdfast's targets the same.
TUNING = ("MaxRecvDataSegmentLength=262144", "MaxXmitDataSegmentLength=262144",
          "FirstBurstLength=262144", "MaxBurstLength=1048576", "InitialR2T=No")


def load(urls, seconds, op, **options):
    """Runs the initiator; what it said. `options` are its own: block, depth, fua=True and so on."""
    argv = load_argv(urls, seconds, op, **options)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 120, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    if said["errors"]:
        raise LabError(f"{' '.join(argv)}: {said['errors']} errors: {done.stderr.strip()}")
    return said


def load_argv(urls, seconds, op, **options):
    argv = [os.path.join(lay.BUILD, "tests", "bench_load"), "--op", op, "--seconds", str(seconds)]
    for name, value in {"span": SPAN, **options}.items():
        argv += ["--" + name] if value is True else ["--" + name, str(value)]
    return argv + list(urls)


def raw(op, path, block, seconds):
    """The disk without iSCSI."""
    done = subprocess.run([os.path.join(lay.BUILD, "tests", "bench_raw"), op, path, str(block),
                           str(seconds)], capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL)
    return json.loads(done.stdout)


def write_file(path, size):
    """Written, not only reserved: a reserved file is slower."""
    with open(path, "wb") as f:
        block = os.urandom(1 << 20)
        for _ in range(size >> 20):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())


class Peer:
    """A tgtd with LUNs of one of its own backing stores."""

    def __init__(self, name, files):
        self.name = name
        self.files = files
        self.folder = tempfile.mkdtemp(prefix="hf-bench-", dir="/tmp")  # a socket's path is short
        self.port, = lay.free_ports(1)
        self.control = str(self.port % 32000 + 1)
        self.env = {**os.environ, **lay.tgtd_env(self.folder, "/nonexistent")}
        self.urls = [f"iscsi://127.0.0.1:{self.port}/{IQN}{name}/{i + 1}"
                     for i in range(len(files))]
        self.process = None

    def start(self, log_folder, bstype, bsoflags):
        plugins = os.path.join(self.folder, "plugins")  # none
        os.mkdir(plugins)
        with open(os.path.join(log_folder, f"tgtd-{self.name}.log"), "ab") as log:
            self.process = subprocess.Popen(
                lay.tgtd_argv(plugins, self.control, f"127.0.0.1:{self.port}"), env=self.env,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until("tgtd " + self.name, lambda: bstype in self.admin("show", "system", allow=True))
        self.admin("new", "target", "--tid", "1", "--targetname", IQN + self.name)
        for setting in TUNING:
            key, value = setting.split("=")
            self.admin("update", "target", "--tid", "1", "--name", key, "--value", value)
        for i, path in enumerate(self.files):
            self.admin("new", "logicalunit", "--tid", "1", "--lun", str(i + 1), "--bstype", bstype,
                       "--backing-store", path, *(["--bsoflags", bsoflags] if bsoflags else []))
        self.admin("bind", "target", "--tid", "1", "--initiator-address", "ALL")

    def admin(self, op, mode, *arguments, allow=False):
        done = subprocess.run(["tgtadm", "-C", self.control, "--op", op, "--mode", mode,
                               *arguments], env=self.env, capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0 and not allow:
            raise LabError(f"tgtadm {op} {mode} {arguments}: {done.stderr.strip()}")
        return done.stdout if done.returncode == 0 else ""

    def pids(self):
        return {"tgtd": self.process.pid}

    def before(self):
        """Nothing is kept in memory but what the peer itself keeps there by design."""
        for path in self.files:
            if os.path.isfile(path) and not path.startswith("/dev/shm/"):
                machine.evict(path)

    def after(self):
        pass

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        subprocess.run(["rm", "-rf", self.folder], check=True)


class Holdfast:
    """A whole one, with a directory store on the same disk."""

    name = "holdfast"

    def __init__(self, folder):
        self.lab = Lab(os.path.join(folder, "lab"))

    def start(self):
        self.lab.up("dir", LOG, with_parent=True)
        volumes = [self.create(f"bench-{i}") for i in range(LUNS)]
        self.first = volumes[0]["volume_id"]
        self.urls = [self.url(v) for v in volumes]
        self.cached_url = self.url(self.create("bench-cached", "--write-cache", "on"))
        self.store = self.lab.layout.path("store")
        self.log = self.lab.layout.path("gateway", "volumed", "log")

    def create(self, name, *options):
        return self.lab.ask("holdfast", "volume", "create", "--gateway", "lab", "--name", name,
                            "--size", str(SPAN), *options, "--wait")

    @staticmethod
    def url(volume):
        return f"iscsi://{volume['portal']}/{volume['target']}/{volume['lun']}"

    def pids(self):
        pids = self.lab.status()["pids"]
        return {"tgtd": pids["tgtd"], "volumed": pids["holdfast-volumed"]}

    def status(self):
        return self.lab.ask("holdfast-gateway", "status")["volumed"]

    def tier_hits(self):
        return sum(v["memory_tier_hits"] for v in self.status()["volumes"])

    def fetched(self):
        return sum(v["fetched_bytes"] for v in self.status()["volumes"])

    def leave_and_return(self):
        """The first volume, so that the log holds nothing of it."""
        self.lab.ask("holdfast", "volume", "detach", self.first, "--wait")
        self.lab.ask("holdfast", "volume", "attach", self.first, "--gateway", "lab", "--wait")

    def before(self):
        pass

    def after(self):
        """Peers are not measured while Holdfast still uploads."""
        wait_until("the uploads", self.is_settled, SETTLE_DEADLINE_S, 0.1)

    def is_settled(self):
        status = self.status()
        return status["uploads_under_way"] == 0 and all(
            v["recovery_point_lag_bytes"] == 0 for v in status["volumes"])

    def uploads_off(self):
        """The store is away, so that what is written stays in the log."""
        os.rename(self.store, self.store + ".away")

    def uploads_on(self):
        if os.path.exists(self.store + ".away"):
            os.rename(self.store + ".away", self.store)
        self.after()

    def end(self):
        self.lab.down()


class World:
    """Everything that a run measures, on one disk."""

    def __init__(self):
        self.folder = lay.scratch_folder("bench-")
        self.memory = f"/dev/shm/holdfast-bench-{os.getpid()}"
        self.disk_file = os.path.join(self.folder, "disk")
        self.sync_file = os.path.join(self.folder, "disk-sync")
        self.sides = {}

    def start(self):
        began = time.monotonic()
        for path in (self.disk_file, self.sync_file, self.memory):
            write_file(path, SPAN)
        # tgt's aio ignores FUA and takes no bsoflags; the file itself makes its writes durable.
        subprocess.run(["chattr", "+S", self.sync_file], check=True)
        self.sides["holdfast"] = Holdfast(self.folder)
        self.sides["holdfast"].start()
        for name, bstype, files, bsoflags in (
                ("null", "null", ["/dev/null"] * LUNS, None),
                ("rdwr", "rdwr", [self.disk_file], None),
                ("rdwr-sync", "rdwr", [self.disk_file], "sync"),
                ("aio", "aio", [self.disk_file], None),
                ("aio-sync", "aio", [self.sync_file], None),
                ("ram", "rdwr", [self.memory], None)):
            self.sides[name] = Peer(name, files)  # first, so that it is ended if it does not start
            self.sides[name].start(self.folder, bstype, bsoflags)
        print(f"everything is up after {time.monotonic() - began:.1f} s", flush=True)

    def __getattr__(self, name):
        try:
            return self.__dict__["sides"][name]
        except KeyError:
            raise AttributeError(name) from None

    def end(self):
        for side in self.sides.values():
            side.end()
        if os.path.exists(self.memory):
            os.unlink(self.memory)
        subprocess.run(["rm", "-rf", self.folder], check=True)
