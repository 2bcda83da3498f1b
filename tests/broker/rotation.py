#!/usr/bin/python3 -B
"""CHAP secrets that change under load, through the broker on a real tgtd in its box.

Promises (invariant 7): while a secret is changed 50 times nobody gets in without it, although clients
try all the time, without CHAP, with a wrong secret, as a wrong user, and with the names of the
broker's own accounts; sessions that are open go on; after each change the new secret logs in, the one
before does not, and tgtd's listing (which an unbound account in the middle makes it crash over) works.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import BIN, BUILD, check, free_ports, story, wait_until, write_config  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

TOOL = os.path.join(BUILD, "tests", "broker_tool")
HAMMER = os.path.join(BUILD, "tests", "chap_hammer")
IQN = "iqn.2026-11.org.example:rotated"
OTHER = "iqn.2026-11.org.example:other"
VOLUME = "vol-00000000000000e1"
SIZE = 64 << 20
ROTATIONS = 50
HAMMERS = 3
TRIES_LEAST = 200  # of each kind, or nothing is proved


class World:
    def __init__(self, folder):
        self.folder = folder
        self.volumed = Volumed(folder)
        self.tgt = Tgtd(folder, f"{self.volumed.run}/ring.sock")
        self.socket = os.path.join(folder, "broker.sock")
        self.portal = f"127.0.0.1:{free_ports(1)[0]}"
        self.broker = None

    def start(self):
        self.volumed.start()
        self.volumed.use_store()
        self.volumed.attach(VOLUME, f"{SIZE >> 20}MiB", 1, "create")
        self.tgt.start()
        config = os.path.join(self.folder, "broker.conf")
        write_config(config, {"run_dir": self.folder, "tgt_socket": self.tgt.socket,
                              "uid": self.tgt.uid, "gid": self.tgt.uid})
        self.broker = subprocess.Popen([os.path.join(BIN, "holdfast-broker"), "--config", config],
                                       stderr=subprocess.DEVNULL)
        wait_until("the broker", lambda: self.tool("show").returncode == 0)

    def end(self):
        if self.broker:
            self.broker.send_signal(signal.SIGTERM)
            self.broker.wait(30)
        self.tgt.end()
        self.volumed.end()

    def tool(self, *arguments):
        return subprocess.run([TOOL, self.socket, *arguments], capture_output=True, text=True,
                              timeout=60, check=False)

    def do(self, *arguments):
        done = self.tool(*arguments)
        check(done.returncode == 0, f"{arguments[0]}: {done.stderr}")
        answer = json.loads(done.stdout)
        check(answer["error"] == 0, f"{arguments[0]}: {answer['reason']}")
        return answer

    def secret(self, iqn, user, secret):
        self.do("access", iqn, "", "ALL", user, secret, "", "")

    def url(self):
        return f"iscsi://{self.portal}/{IQN}/1"

    def logs_in(self, user, secret):
        environment = {**os.environ, "LIBISCSI_CHAP_USERNAME": user,
                       "LIBISCSI_CHAP_PASSWORD": secret}
        return subprocess.run(["iscsi-inq", self.url()], env=environment, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0


class Load:
    """A session that writes and reads all the time; `ended` says why it stopped."""

    def __init__(self, world, user, secret):
        with tempfile.NamedTemporaryFile("w", suffix=".secret") as file:
            file.write(secret)
            file.flush()
            self.process = subprocess.Popen(
                ["qemu-io", "--object", f"secret,id=chap,file={file.name}", "--image-opts",
                 f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={world.portal},"
                 f"file.target={IQN},file.lun=1,file.user={user},file.password-secret=chap"],
                text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
            self.count, self.ended, self.stop = 0, None, False
            self.do("write -P 1 0 64k")
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def do(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line or "rror" in line or "failed" in line:
                raise OSError(f"{command}: {line!r}")
            if "ops;" in line:
                return

    def run(self):
        try:
            while not self.stop:
                self.do(f"write -P {self.count % 200 + 1} 1M 64k")
                self.do(f"read -P {self.count % 200 + 1} 1M 64k")
                self.count += 1
        except OSError as e:
            self.ended = e

    def end(self):
        self.stop = True
        self.thread.join()
        self.process.stdin.close()
        self.process.wait(30)


def rotate(world):
    for number in range(1, ROTATIONS + 1):
        old, new = f"secret-of-turn-{number - 1}", f"secret-of-turn-{number}"
        world.secret(IQN, "alice", new)
        check(len(world.do("show")["targets"]) == 2, "the listing after a change")
        check(world.logs_in("alice", new), f"turn {number}: the new secret does not log in")
        check(not world.logs_in("alice", old), f"turn {number}: the old secret logs in")


def under_load(folder):
    world = World(folder)
    hammers, load = [], None
    try:
        world.start()
        for iqn in (IQN, OTHER):
            world.do("create", iqn)
        world.do("lun", IQN, "1", VOLUME[4:], str(SIZE), "rotated", "off")
        world.secret(IQN, "alice", "secret-of-turn-0")
        world.secret(OTHER, "bob", "secret-of-bob-000")
        world.do("open", world.portal)
        pid = world.do("show")["pid"]
        load = Load(world, "alice", "secret-of-turn-0")
        hammers = [subprocess.Popen([HAMMER, world.url(), "alice"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True) for _ in range(HAMMERS)]
        rotate(world)
        said = [hammer.communicate()[0] for hammer in hammers]
        check(all(hammer.returncode == 0 for hammer in hammers), f"somebody got in: {said}")
        tries = [sum(numbers) for numbers in zip(*([int(n) for n in s.split()] for s in said))]
        check(min(tries[:4]) >= TRIES_LEAST, f"too few tries to prove anything: {tries}")
        load.end()
        check(load.ended is None and load.count > ROTATIONS, f"the open session: {load.ended}")
        shown = world.do("show")
        check(shown["pid"] == pid, "tgtd is another one")
        print(f"  {ROTATIONS} changes: {sum(tries[:4])} log-ins without the secret refused "
              f"{tries[:4]}, {load.count} writes and reads of an open session went on")
    finally:
        for hammer in hammers:
            if hammer.poll() is None:
                hammer.kill()
                hammer.wait()
        if load and load.process.poll() is None:
            load.process.kill()
        world.end()


story((under_load,))
