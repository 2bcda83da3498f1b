"""Where a Holdfast on one machine keeps its things, and what its processes are started with.

One state directory holds everything that survives a restart; a short run directory holds the
sockets (the path of a Unix socket holds 107 bytes). Ports are chosen once and kept in lab.json.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("HF_BUILD", os.path.join(TOP, "build", "release"))
BIN = os.path.join(BUILD, "bin")
PLUGIN = os.path.join(BUILD, "lib", "bs_holdfast.so")
TGTD = "/usr/sbin/tgtd"
TGT_UID = 59717  # tgtd's and its broker's, nobody else's; the next tgtd's is one more
TGT_PLUGIN_DIR = "/usr/lib/tgt/backing-store"
SIGNER_UID = 59710  # each its own: the provider must not be able to read the signer's keys
PROVIDER_UID = 59711


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def write_json(path, value):
    """Writes atomically, so that a reader never sees half of it."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")
    os.rename(path + ".new", path)


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def scratch_folder(prefix):
    """A new folder beside the build: /tmp may be in memory, where direct I/O and syncs are not the
    real thing."""
    folder = os.path.join(TOP, "build", "scratch")
    os.makedirs(folder, exist_ok=True)
    return tempfile.mkdtemp(prefix=prefix, dir=folder)


def reachable(path):
    """May every user pass through to it?"""
    while True:
        if not os.stat(path).st_mode & 0o001:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def give_to(uid, folder):
    """The folder with everything in it, closed to everybody else."""
    os.chmod(folder, 0o700)
    for parent, _, names in os.walk(folder):
        for path in [parent] + [os.path.join(parent, name) for name in names]:
            os.chown(path, uid, uid, follow_symlinks=False)


class Layout:
    """The folders and files below one state directory."""

    def __init__(self, directory):
        self.dir = os.path.realpath(directory)
        name = hashlib.sha256(self.dir.encode()).hexdigest()[:12]
        base = "/run" if os.access("/run", os.W_OK) else "/tmp"
        self.run = os.path.join(base, "holdfast-" + name)
        self.rgw = self.run + "-rgw"  # the S3 server, if it is ours; its objects are in memory

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    @property
    def spec_file(self):
        return self.path("lab.json")

    @property
    def pids_file(self):
        return self.path("pids.json")

    def own_uids(self):
        """Do provider and signer run under uids of their own? Only root can give them some, and
        only where others may pass through to their files."""
        return os.geteuid() == 0 and reachable(os.path.realpath(BIN)) and reachable(
            os.path.dirname(self.dir))

    def create(self, store, volumed, tgtds=1):
        """Makes the folders, and on the first call chooses ports; returns the spec. `volumed` are
        further keys of its configuration, such as log_size; `tgtds` how many of them there are."""
        for part in ("log", "gateway/agent", "gateway/volumed", "gateway/plugin",
                     "provider/state", "provider/signer", "config"):
            os.makedirs(self.path(part), mode=0o700, exist_ok=True)
        # tgtd's uid passes through to what is its own; the sockets check who asks.
        for part, mode in (("", 0o711), ("gateway", 0o711), ("gateway/ring", 0o711),
                           ("provider", 0o700), ("signer", 0o700)):
            os.makedirs(os.path.join(self.run, part), exist_ok=True)
            os.chmod(os.path.join(self.run, part), mode)
        if self.own_uids():
            for part in ("", "provider", "config"):
                os.chmod(self.path(part), os.stat(self.path(part)).st_mode & 0o777 | 0o011)
            give_to(PROVIDER_UID, self.path("provider", "state"))
            give_to(PROVIDER_UID, os.path.join(self.run, "provider"))
            give_to(SIGNER_UID, self.path("provider", "signer"))
            give_to(SIGNER_UID, os.path.join(self.run, "signer"))
            os.chmod(os.path.join(self.run, "signer"), 0o711)
        if os.path.exists(self.spec_file):
            spec = read_json(self.spec_file)
        else:
            names = ["channel", "activation", "provider_metrics", "gateway_metrics"]
            for suffix in suffixes(tgtds):
                names += ["portal" + suffix, "boot_portal" + suffix]
            spec = {"store_kind": store or "dir", "volumed": volumed, "tgtds": tgtds,
                    "ports": dict(zip(names, free_ports(len(names))))}
            write_json(self.spec_file, spec)
        plugin = self.path("gateway", "plugin")
        os.chmod(plugin, 0o755)  # tgtd's uid reads it, through its box
        shutil.copy(PLUGIN, os.path.join(plugin, "bs_holdfast.so"))
        return spec

    def remove_run(self):
        shutil.rmtree(self.run, ignore_errors=True)


def suffixes(tgtds):
    """What tells the parts of several tgtd apart, by their number: "", "-2", "-3" …"""
    return ["" if number == 1 else f"-{number}" for number in range(1, tgtds + 1)]


def address(spec, name):
    return f"127.0.0.1:{spec['ports'][name]}"


def write_configs(layout, spec, store):
    """One configuration file a daemon; `store` is {url, region, access_key, secret_key, ca}."""
    gateway_run = os.path.join(layout.run, "gateway")
    provider_run = os.path.join(layout.run, "provider")
    ring = os.path.join(gateway_run, "ring")
    credentials = layout.path("config", "store-credentials")
    provider = {
        "run_dir": provider_run,
        "state_dir": layout.path("provider", "state"),
        "channel_listen": address(spec, "channel"),
        "activation_listen": address(spec, "activation"),
        "store_url": store["url"],
    }
    if store.get("access_key"):
        write_config(credentials, {"access_key": store["access_key"],
                                   "secret_key": store["secret_key"]})
        provider["store_credentials"] = credentials
        provider["store_region"] = store.get("region") or "us-east-1"
    if store.get("ca"):
        provider["store_ca"] = shutil.copy(store["ca"], layout.path("config", "store-ca.pem"))
        os.chmod(provider["store_ca"], 0o644)
    signer = {"run_dir": os.path.join(layout.run, "signer"),
              "state_dir": layout.path("provider", "signer")}
    provider["signer_dir"] = signer["run_dir"]
    if layout.own_uids():
        signer["provider_uid"] = PROVIDER_UID
        provider["signer_uid"] = SIGNER_UID
    configs = {
        "signer": signer,
        "provider": provider,
        "volumed": {"run_dir": gateway_run, "ring_dir": ring,
                    "tgt_uid": TGT_UID, "tgtds": spec.get("tgtds", 1),
                    "state_dir": layout.path("gateway", "volumed"),
                    "memory_tier_rings": spec.get("tgtds", 1),
                    **spec["volumed"]},
        "agent": {"run_dir": gateway_run, "state_dir": layout.path("gateway", "agent"),
                  "activation": spec.get("provider") or address(spec, "activation"),
                  "portal": ", ".join(address(spec, "portal" + suffix)
                                      for suffix in suffixes(spec.get("tgtds", 1)))},
    }
    for name, port in (("provider", "provider_metrics"), ("agent", "gateway_metrics")):
        if port in spec["ports"]:  # not in a lab of an earlier version
            configs[name]["metrics_listen"] = address(spec, port)
    for number, suffix in enumerate(suffixes(spec.get("tgtds", 1))):
        uid = TGT_UID + number
        folder = os.path.join(gateway_run, "tgtd" + suffix)
        control = tgt_control(spec, suffix)
        configs["tgtd-box" + suffix] = {
            **box_config(folder, ring, layout.path("gateway", "plugin"), control,
                         address(spec, "boot_portal" + suffix), uid),
            "portals": address(spec, "portal" + suffix)}
        configs["broker" + suffix] = {
            "run_dir": gateway_run, "socket": f"broker{suffix}.sock", "uid": uid,
            "gid": uid, "tgt_socket": os.path.join(folder, f"tgt.{control}")}
    for name, values in configs.items():
        write_config(layout.path("config", name + ".conf"), values)
    if layout.own_uids():
        os.chown(layout.path("config", "signer.conf"), SIGNER_UID, SIGNER_UID)
        for path in filter(os.path.exists, (layout.path("config", "provider.conf"), credentials)):
            os.chown(path, PROVIDER_UID, PROVIDER_UID)


def write_config(path, values):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as f:
        f.writelines(f"{key} = {value}\n" for key, value in values.items())


def tgt_control(spec, suffix=""):
    """tgtd's control number: its own for each, below tgt's limit of 32767."""
    return spec["ports"]["portal" + suffix] % 32000 + 1


def box_config(folder, ring_dir, plugins, control, boot_portal, uid=TGT_UID):
    """Of holdfast-tgtd-box, which starts tgtd unprivileged and contained. The portal it is started
    with is one that nobody is told of; without it tgtd would open every address."""
    return {"folder": folder, "ring_dir": ring_dir, "plugin_dir": plugins, "control": control,
            "boot_portal": boot_portal, "uid": uid, "gid": uid}


def process_in(box):
    """The tgtd that a box runs, None while it has none."""
    try:
        with open(f"/proc/{box}/task/{box}/children", encoding="utf-8") as f:
            child = int(f.read().split()[0])
        with open(f"/proc/{child}/comm", encoding="utf-8") as f:
            return child if f.read() == "tgtd\n" else None
    except (OSError, IndexError):
        return None


def true_pids(pids):
    """Of a supervisor's children, with each tgtd instead of its box."""
    found = {name: process_in(pid) if name.startswith("tgtd") else pid
             for name, pid in pids.items()}
    return {name: pid for name, pid in found.items() if pid}


def tgtd_argv(plugins, control, portal):
    """A tgtd without a box, for measurements and sanitizers, with the plugins of a folder. It looks
    for them in one compiled-in folder only: ours is bound over it in a mount namespace of its own,
    so the system's tgtd and its plugins are not touched."""
    return ["unshare", "-m", "sh", "-c",
            'mkdir -p "$2" && mount --bind "$1" "$2" && shift 2 && exec "$@"',
            "tgtd", plugins, TGT_PLUGIN_DIR, TGTD, "-f", "-C", str(control), "--iscsi", f"portal={portal}"]


def tgtd_env(folder, ring_socket):
    """Where it makes its control socket (FOLDER/tgt.CONTROL) and finds volumed."""
    return {"TGT_IPC_SOCKET": os.path.join(folder, "tgt"), "HOLDFAST_RING_SOCKET": ring_socket}


def processes(layout, spec):
    """What the supervisor runs, in the order of starting: name, argv, environment, signal that
    stops it, uid (None: that of the supervisor). A spec that names the activation endpoint of a
    `provider` is of a gateway alone."""
    uids = {"signer": SIGNER_UID, "provider": PROVIDER_UID} if layout.own_uids() else {}

    def daemon(name, suffix=""):
        config = layout.path("config", name + suffix + ".conf")
        return {"name": "holdfast-" + name + suffix, "stop": "TERM",
                "env": spec.get("env", {}).get(name, {}), "uid": uids.get(name),
                "argv": [os.path.join(BIN, "holdfast-" + name), "--config", config]}

    tgtds = [one for suffix in suffixes(spec.get("tgtds", 1))
             for one in ({**daemon("tgtd-box", suffix), "name": "tgtd" + suffix},
                         daemon("broker", suffix))]
    here = [] if spec.get("provider") else [daemon("signer"), daemon("provider")]
    return [*here, daemon("volumed"), *tgtds, daemon("agent")]


def environment(layout, store):
    """What `holdfast` and `holdfast-gateway` need to find this lab."""
    env = {"HOLDFAST_PROVIDER_RUN": os.path.join(layout.run, "provider"),
           "HOLDFAST_SIGNER_RUN": os.path.join(layout.run, "signer"),
           "HOLDFAST_GATEWAY_RUN": os.path.join(layout.run, "gateway"),
           "HOLDFAST_GATEWAY_CONFIG": layout.path("config", "agent.conf")}
    if store.get("access_key"):
        env["AWS_ACCESS_KEY_ID"] = store["access_key"]
        env["AWS_SECRET_ACCESS_KEY"] = store["secret_key"]
    if store.get("ca"):
        env["HOLDFAST_STORE_CA"] = store["ca"]
    return env
