"""A provider of several processes for tests: PostgreSQL, NATS nodes, one signer, any number of
holdfast-provider processes. Each part is started and stopped by itself, in a folder of the test's
own; PostgreSQL refuses to run as root and gets a user."""

import base64
import binascii
import contextlib
import ctypes
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys

import swarm
from story import BIN, free_ports, wait_until


def die_with_parent():
    """A test that is killed leaves no process behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def skip(reason):
    """The status that ctest shows as skipped."""
    print(f"skipped: {reason}")
    sys.exit(77)


def postgres_bin():
    """Where Debian keeps the server's programs; None: not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda f: int(f.split("/")[4]))
    return found[-1] if found else None


class Postgres:
    """One PostgreSQL on a socket in its folder and on a port of 127.0.0.1. `settings` are lines of
    postgresql.conf. The superuser is `holdfast`, with the password `secret` over TCP."""

    USER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    def __init__(self, folder, port, settings=()):
        if not postgres_bin():
            skip("no PostgreSQL server; apt-get install postgresql")
        self.folder, self.port, self.process = folder, port, None
        os.makedirs(folder, mode=0o755)
        self._let_through()
        owner = pwd.getpwnam(self.USER)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        with open(folder + "/password", "w", encoding="ascii") as file:
            file.write("secret\n")
        self._run("initdb", "-D", self.data, "-U", "holdfast", "--pwfile", folder + "/password",
                  "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C",
                  "-N")
        with open(self.data + "/postgresql.conf", "a", encoding="ascii") as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {port}\n"
                       f"unix_socket_directories = '{folder}'\nmax_connections = 50\n"
                       "shared_buffers = 16MB\n" + "".join(s + "\n" for s in settings))

    @property
    def data(self):
        return self.folder + "/data"

    @property
    def url(self):
        """For `registry`, through the socket."""
        return f"postgres://holdfast@/postgres?host={self.folder}&port={self.port}"

    @property
    def tcp_url(self):
        return f"postgres://holdfast:secret@127.0.0.1:{self.port}/postgres"

    def _let_through(self):
        """The server's user has to reach its folder; the test's is for root only."""
        folder = os.path.dirname(self.folder)
        while len(folder) > len("/tmp"):
            os.chmod(folder, os.stat(folder).st_mode | 0o011)
            folder = os.path.dirname(folder)

    def _as_user(self):
        return {"user": self.USER, "group": pwd.getpwnam(self.USER).pw_gid, "extra_groups": []} \
            if os.geteuid() == 0 else {}

    def _run(self, program, *arguments):
        done = subprocess.run([postgres_bin() + "/" + program, *arguments], cwd="/", text=True,
                              capture_output=True, check=False, **self._as_user())
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        with open(self.folder + "/log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [postgres_bin() + "/postgres", "-D", self.data], cwd="/", stdout=log, stderr=log,
                **self._as_user())
        wait_until("PostgreSQL; see " + self.folder + "/log", self.answers)
        return self

    def answers(self):
        return subprocess.run([postgres_bin() + "/pg_isready", "-q", "-h", self.folder,
                               "-p", str(self.port)], check=False).returncode == 0

    def stop(self, how=signal.SIGINT):
        """SIGINT: connections are cut; SIGQUIT: at once, as in a crash; SIGTERM: waits for them."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def sql(self, text):
        """The rows as lines, columns divided by |."""
        return self._run("psql", "-XqAt", "-h", self.folder, "-p", str(self.port), "-U", "holdfast",
                         "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", text)

    def hang(self, hangs=True):
        """Every process of it stops answering, or goes on."""
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
                                  capture_output=True, text=True, check=True).stdout.split()
        for pid in [self.process.pid] + [int(child) for child in children]:
            with contextlib.suppress(ProcessLookupError):  # one that has just ended
                os.kill(pid, signal.SIGSTOP if hangs else signal.SIGCONT)

    def dump(self, path):
        """A backup, for restore()."""
        self._run("pg_dump", "-h", self.folder, "-p", str(self.port), "-U", "holdfast", "-Fc",
                  "-d", "postgres", "-f", self.folder + "/backup")
        shutil.copy(self.folder + "/backup", path)

    def restore(self, path):
        """In place of everything there is; nobody may be connected."""
        self.sql("DROP SCHEMA public CASCADE")
        self.sql("CREATE SCHEMA public")
        shutil.copy(path, self.folder + "/backup")
        self._run("pg_restore", "-h", self.folder, "-p", str(self.port), "-U", "holdfast",
                  "-d", "postgres", "-n", "public", self.folder + "/backup")


# Not Ed25519: libpq 15 cannot bind a password to a connection whose certificate is signed so.
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def sign_certificate(folder, authority, part, name):
    """A certificate and a key for `name`, of this authority: FOLDER/PART.crt and .key."""
    certificate, key = f"{folder}/{part}.crt", f"{folder}/{part}.key"
    openssl("req", *NEW_KEY, "-nodes", "-subj", "/CN=" + name, "-addext",
            "subjectAltName=DNS:" + name, "-keyout", key, "-out", folder + "/csr")
    with open(folder + "/ext", "w", encoding="ascii") as file:
        file.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", folder + "/csr", "-CA", authority["ca.crt"], "-CAkey",
            authority["ca.key"], "-days", "2", "-extfile", folder + "/ext", "-out", certificate)
    return {part + ".crt": certificate, part + ".key": key}


def make_certificates(folder, name):
    """An authority and a certificate for `name` that it signed; paths as a dictionary."""
    paths = {key: f"{folder}/{key}" for key in ("ca.crt", "ca.key")}
    os.makedirs(folder, exist_ok=True)
    openssl("req", "-x509", *NEW_KEY, "-nodes", "-days", "2", "-subj", "/CN=test",
            "-keyout", paths["ca.key"], "-out", paths["ca.crt"])
    return {**paths, **sign_certificate(folder, paths, "server", name)}


def make_nkey(folder):
    """A user's NKey: (public key, path of the file with its seed)."""
    openssl("genpkey", "-algorithm", "ed25519", "-out", folder + "/nkey.pem")
    seed = openssl("pkey", "-in", folder + "/nkey.pem", "-outform", "DER")[-32:]
    public = openssl("pkey", "-in", folder + "/nkey.pem", "-pubout", "-outform", "DER")[-32:]

    def text(raw):
        # CRC-16 of the kind that Python has for something else.
        raw += binascii.crc_hqx(raw, 0).to_bytes(2, "little")
        return base64.b32encode(raw).rstrip(b"=").decode()
    user, seed_prefix = 20 << 3, 18 << 3
    write_private(folder + "/nkey.seed",
                  text(bytes([seed_prefix | user >> 5, (user & 31) << 3]) + seed) + "\n")
    return text(bytes([user]) + public), folder + "/nkey.seed"


def write_private(path, content):
    with open(path, "w", encoding="ascii",
              opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(content)


class Nats:
    """NATS nodes in one cluster on 127.0.0.1, TLS and a user with a password."""

    NAME = "nats.test"

    def __init__(self, folder, nodes=1):
        self.program = shutil.which("nats-server") or "/usr/sbin/nats-server"
        if not os.path.exists(self.program):
            skip("no NATS server; apt-get install nats-server")
        self.folder, self.processes = folder, [None] * nodes
        self.tls = make_certificates(folder, self.NAME)
        self.ports = free_ports(2 * nodes)
        self.admit('user: "holdfast", password: "secret"')
        self.credentials("user = holdfast\npassword = secret\n")

    def admit(self, user, verify=""):
        """Whom the nodes let in from their next start on; `verify`: more about TLS."""
        nodes = len(self.processes)
        for node in range(nodes):
            routes = ", ".join(f'"nats://127.0.0.1:{self.ports[nodes + other]}"'
                               for other in range(nodes) if other != node)
            with open(f"{self.folder}/{node}.conf", "w", encoding="ascii") as file:
                file.write(f"""
listen: "127.0.0.1:{self.ports[node]}"
server_name: "node-{node}"
tls {{ cert_file: "{self.tls['server.crt']}", key_file: "{self.tls['server.key']}"{verify} }}
authorization {{ users: [ {{ {user},
                            permissions: {{ publish: "holdfast.>", subscribe: "holdfast.>" }} }} ] }}
cluster {{ name: "test", listen: "127.0.0.1:{self.ports[nodes + node]}", routes: [{routes}] }}
""")

    def credentials(self, text):
        """What the providers have to show."""
        write_private(self.folder + "/credentials", text)

    def settings(self):
        """Of a provider."""
        nodes = len(self.processes)
        return {"route": ",".join(f"tls://127.0.0.1:{port}" for port in self.ports[:nodes]),
                "route_name": self.NAME, "route_ca": self.tls["ca.crt"],
                "route_credentials": self.folder + "/credentials"}

    def start(self, node=None):
        for i in range(len(self.processes)) if node is None else [node]:
            with open(f"{self.folder}/{i}.log", "a", encoding="utf-8") as log:
                self.processes[i] = subprocess.Popen(
                    [self.program, "-c", f"{self.folder}/{i}.conf"], stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        for i in range(len(self.processes)) if node is None else [node]:
            wait_until(f"NATS node {i}; see {self.folder}/{i}.log",
                       lambda port=self.ports[i]: accepts(port))
        return self

    def stop(self, node=None, how=signal.SIGKILL):
        for i in range(len(self.processes)) if node is None else [node]:
            if self.processes[i]:
                self.processes[i].send_signal(how)
                self.processes[i].wait(30)
                self.processes[i] = None


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Daemon:
    """One of the product's daemons with a configuration of `settings`, logging beside it."""

    def __init__(self, program, folder, settings):
        self.program, self.folder, self.process = program, folder, None
        self.env = {}  # beside the test's own
        os.makedirs(folder, exist_ok=True)
        self.configure(settings)

    def configure(self, settings):
        self.settings = dict(settings)
        with open(f"{self.folder}/{self.program}.conf", "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("".join(f"{key} = {value}\n" for key, value in self.settings.items()))

    @property
    def log(self):
        return f"{self.folder}/{self.program}.log"

    def said(self, text):
        with open(self.log, encoding="utf-8") as file:
            return text in file.read()

    def start(self, *options):
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [f"{BIN}/{self.program}", "--config", f"{self.folder}/{self.program}.conf",
                 *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env}, preexec_fn=die_with_parent)
        return self

    def stop(self, how=signal.SIGTERM):
        if not self.process:
            return
        self.process.send_signal(how)
        status = self.process.wait(60)
        self.process = None
        if how == signal.SIGTERM and status != 0:
            raise RuntimeError(f"{self.program} ended with {status}; see {self.log}")


class Provider(Daemon):
    """One holdfast-provider, with run and state folders and a loopback address of its own."""

    def __init__(self, cluster, number, **settings):
        self.address = f"127.0.{cluster.net}.{number + 1}"
        folder = f"{cluster.folder}/p{number}"
        for part in ("run", "state"):
            os.makedirs(f"{folder}/{part}", mode=0o700)
        super().__init__("holdfast-provider", folder, {
            "run_dir": folder + "/run", "state_dir": folder + "/state",
            "signer_dir": cluster.signer.settings["run_dir"],
            "channel_listen": self.address + ":7001",
            "activation_listen": self.address + ":7002",
            "store_url": f"dir:{cluster.folder}/store", "report_interval_ms": 100,
            **cluster.settings, **settings})

    @property
    def channel(self):
        return self.settings["channel_listen"]

    def ask(self, *arguments, timeout=60):
        """`holdfast ARGUMENTS` at this process: (exit status, JSON or None, what it said)."""
        done = subprocess.run(
            [BIN + "/holdfast", *arguments, "--json"], capture_output=True, text=True,
            check=False, timeout=timeout, stdin=subprocess.DEVNULL,
            env={**os.environ, "HOLDFAST_PROVIDER_RUN": self.settings["run_dir"],
                 "HOLDFAST_SIGNER_RUN": self.settings["signer_dir"]})
        return (done.returncode, json.loads(done.stdout) if done.stdout.strip() else None,
                done.stderr.strip())

    def must(self, *arguments):
        status, answer, said = self.ask(*arguments)
        if status != 0:
            raise RuntimeError(f"holdfast {' '.join(arguments)} at {self.address}: {said}")
        return answer

    def ready(self):
        return self.process.poll() is None and self.ask("info")[0] == 0 and \
            self.ask("info")[1]["ready"]

    def wait_ready(self):
        wait_until(f"the provider; see {self.log}", self.ready)
        return self


class Cluster:
    """PostgreSQL, NATS, one signer and `count` providers; leaves nothing running."""

    def __init__(self, folder, count=3, nodes=3, postgres=(), **settings):
        self.folder, self.settings = folder, settings
        self.net = os.getpid() % 250 + 1
        self.postgres = Postgres(folder + "/pg", free_ports(1)[0], postgres)
        self.nats = Nats(folder + "/nats", nodes) if nodes else None
        self.settings = {"registry": self.postgres.url,
                         **(self.nats.settings() if self.nats else {}), **settings}
        for part in ("signer-run", "signer"):
            os.makedirs(f"{folder}/{part}", mode=0o700)
        self.signer = Daemon("holdfast-signer", folder + "/signer-log", {
            "run_dir": folder + "/signer-run", "state_dir": folder + "/signer",
            "approval": "no"})
        self.providers = [Provider(self, number) for number in range(count)]
        for provider in self.providers:
            provider.configure({**provider.settings, "channel_advertise": ", ".join(
                p.channel for p in self.providers)})

    def __enter__(self):
        try:
            self.postgres.start()
            if self.nats:
                self.nats.start()
            self.signer.start()
            for provider in self.providers:
                provider.start()
            for provider in self.providers:
                provider.wait_ready()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.stop(signal.SIGKILL if kind else signal.SIGTERM)

    def stop(self, how=signal.SIGTERM):
        for daemon in [*self.providers, self.signer]:
            daemon.stop(how)
        if self.nats:
            self.nats.stop()
        self.postgres.stop(signal.SIGQUIT)


def swarm_at(cluster, name, providers, count):
    """Simulated gateways (tests/lib/swarm.py) that dial only these processes, all held."""
    identities = cluster.folder + "/identities"
    if not os.path.exists(identities):
        swarm.prepare(cluster.postgres.url, cluster.signer.settings["run_dir"], count, 5,
                      identities)
    gateways = swarm.Swarm(f"{cluster.folder}/{name}", identities,
                           [p.channel for p in providers])
    gateways.start()
    gateways.wait("all are held", held=count)
    return gateways


def epochs(gateways, gateway):
    """Of the connections that this one was told it holds, in order."""
    return [e[3] for e in gateways.effects() if e[1] == "held" and e[2] == gateway]
