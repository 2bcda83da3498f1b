#!/usr/bin/python3 -B
"""Another CHAP secret for a volume that is in use, from the administrator's command down to tgtd.

Promises (invariant 7): when `volume chap --wait` returns, the old secret is refused and the new one
accepted; a session that was open goes on, nothing of it is lost; the data is the same afterwards,
also after tgtd and volumed were killed and the volume was detached and attached (its key was kept
where it was); what cannot be is refused with a reason and changes nothing; no secret is in a log.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import (LabError, create, holdfast, must, must_not, refused, show,  # noqa: E402
                     wait_until)
from story import check  # noqa: E402

FIRST, SECOND, MUTUAL = "correct-horse-9", "battery-staple-7", "somebody-else-5"


@contextlib.contextmanager
def secret_file(text):
    with tempfile.NamedTemporaryFile("w", suffix=".secret") as f:
        f.write(text + "\n")
        f.flush()
        yield f.name


def change(lab, *options, secret, user="alice", ask=None):
    with secret_file(secret) as name:
        return (ask or lab.command)("holdfast", "volume", "chap", "db", "--chap-user", user,
                                    "--chap-secret-file", name, *options)


class Session:
    """One login that stays, and writes when it is told to."""

    def __init__(self, volume, user, secret):
        options = f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={volume['portal']}," \
                  f"file.target={volume['target']},file.lun={volume['lun']}," \
                  f"file.user={user},file.password-secret=chap"
        self.secret = tempfile.NamedTemporaryFile("w", suffix=".secret")
        self.secret.write(secret)
        self.secret.flush()
        self.process = subprocess.Popen(
            ["qemu-io", "--object", f"secret,id=chap,file={self.secret.name}", "--image-opts",
             options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1)
        self.said = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while part := self.process.stdout.read(1):
            self.said += part

    def do(self, command, expect):
        before = self.said.count(expect)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        wait_until(command, lambda: self.said.count(expect) > before or
                   self.process.poll() is not None)
        check(self.process.poll() is None, f"the open session ended: {self.said}")

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.secret.close()


def check_change(lab, volume):
    session = Session(volume, "alice", FIRST)
    session.do("write -P 1 0 1M", "wrote 1048576")
    change(lab, "--wait", secret=SECOND)
    must_not(volume, "read 0 4k", user=("alice", FIRST))
    must_not(volume, "read 0 4k")
    must(volume, "read -P 1 0 1M", user=("alice", SECOND))
    session.do("write -P 2 1M 1M", "wrote 1048576")
    check(show(lab, volume)["sessions"] >= 1, "the open session is not counted")
    session.end()
    must(volume, "read -P 1 0 1M", "read -P 2 1M 1M", user=("alice", SECOND))
    print("another secret: the old one refused, the new one served, the open session went on")


def check_same_key(lab, volume):
    for name in ("tgtd", "holdfast-volumed"):
        os.kill(lab.status()["pids"][name], signal.SIGKILL)
        wait_until(f"{name} to serve again",
                   lambda: show(lab, volume)["status"] == "available")
        must_not(volume, "read 0 4k", user=("alice", FIRST))
        wait_until("the data", lambda: reads(volume))
    lab.command("holdfast", "volume", "detach", "db", "--wait")
    change(lab, "--wait", secret=FIRST, user="bob")
    lab.command("holdfast", "volume", "attach", "db", "--gateway", "lab", "--wait")
    must_not(volume, "read 0 4k", user=("alice", SECOND))
    must(volume, "read -P 1 0 1M", "read -P 2 1M 1M", user=("bob", FIRST))
    print("the key is the same: after kills, and changed while detached, the data is there")


def reads(volume):
    try:
        must(volume, "read -P 1 0 1M", user=("alice", SECOND))
    except LabError:
        return False
    return True


def check_mutual(lab, volume):
    with secret_file(MUTUAL) as name:
        change(lab, "--mutual-user", "target", "--mutual-secret-file", name, "--wait",
               secret=FIRST, user="bob")
        check(show(lab, volume)["mutual_user"] == "target", "mutual CHAP was set")
        said = change(lab, secret=MUTUAL, ask=lambda *argv: refused(lab, *argv))
        check("must differ" in said, f"the mutual secret as CHAP secret: {said}")
    change(lab, "--wait", secret=SECOND, user="bob")
    check(show(lab, volume)["mutual_user"] == "target", "mutual CHAP stayed")
    must(volume, "read -P 1 0 1M", user=("bob", SECOND))
    print("mutual CHAP: set, kept, and never the same secret twice")


def check_refusals(lab, volume):
    before = show(lab, volume)
    refuse = lambda *argv: refused(lab, *argv)  # noqa: E731
    check("12 to 64" in change(lab, secret="short", ask=refuse), "a short secret")
    check("printable" in change(lab, secret="a secret, with a comma", ask=refuse), "a comma")
    check("--chap-secret-file" in refused(lab, "holdfast", "volume", "chap", "db", "--chap-user",
                                          "x"), "no secret")
    with secret_file(FIRST) as name:
        check("no volume" in refused(lab, "holdfast", "volume", "chap", "nothing", "--chap-user",
                                     "x", "--chap-secret-file", name), "no volume")
    after = show(lab, volume)
    check(before["chap_user"] == after["chap_user"], "a refusal changed the user")
    must(volume, "read -P 1 0 1M", user=("bob", SECOND))
    for name in os.listdir(lab.layout.path("log")):
        with open(lab.layout.path("log", name), encoding="utf-8", errors="replace") as f:
            text = f.read()
            check(not any(s in text for s in (FIRST, SECOND, MUTUAL)), f"a secret is in {name}")
    print("what cannot be is refused with a reason; no secret in a log")


def main():
    with holdfast() as lab:
        with secret_file(FIRST) as name:
            volume = create(lab, "db", "64MiB", "--chap-user", "alice", "--chap-secret-file", name)
        check_change(lab, volume)
        check_same_key(lab, volume)
        check_mutual(lab, volume)
        check_refusals(lab, volume)
    return 0


if __name__ == "__main__":
    sys.exit(main())
