"""A provider of several processes for tests: PostgreSQL, NATS nodes, one signer, any number of
holdfast-provider processes. Each part is started and stopped by itself, in a folder of the test's
own; PostgreSQL refuses to run as root and gets a user."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys

from story import wait_until


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
