#!/usr/bin/env python3
"""Signer and provider under two uids, as scripts/lab runs them (invariant 7): what a provider that
was taken over cannot read, ask or replace. The lab's own files and configurations; HF_BUILD names
the build folder."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "scripts", "lib"))
import layout as lay  # noqa: E402

STRANGER_UID = 59799
PYTHON = "/usr/bin/python3"  # one that every user can run


def as_uid(uid, code, *args):
    """Runs Python in a process of that uid; its output, or the exception it ended with."""
    done = subprocess.run([PYTHON, "-c", code, *args], user=uid, group=uid, extra_groups=[],
                          capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


READ = "import sys; print(len(open(sys.argv[1], 'rb').read()))"
LIST = "import os, sys; print(os.listdir(sys.argv[1]))"
REPLACE = "import os, sys; os.rename(sys.argv[1], sys.argv[1] + '.old'); print('replaced')"
# One question in the frames of net/local.h; a peer that may not ask gets no answer.
ASK = """
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(sys.argv[1])
body = bytes.fromhex(sys.argv[2])
s.sendall(struct.pack("<II", len(body) + 4, 1) + body)
print("answer" if len(s.recv(65536)) > 8 else "closed")
"""
HELLO = "0a00"     # SignerRequest.hello
ROTATION = "6a00"  # SignerRequest.rotation


def refused(text):
    return "PermissionError" in text or "ConnectionReset" in text or "BrokenPipe" in text or text == "closed"


def check_files(layout):
    signer = layout.path("provider", "signer")
    names = sorted(os.listdir(signer))
    assert {"ca.key", "sign.key", "secrets.key", "ledger.db"} <= set(names), names
    for uid in (lay.PROVIDER_UID, STRANGER_UID):
        assert refused(as_uid(uid, LIST, signer)), uid
        for name in names:
            assert refused(as_uid(uid, READ, os.path.join(signer, name))), (uid, name)
        assert refused(as_uid(uid, READ, layout.path("config", "signer.conf")))
    assert refused(as_uid(STRANGER_UID, LIST, layout.path("provider", "state")))
    assert refused(as_uid(lay.SIGNER_UID, LIST, layout.path("provider", "state")))
    # The same processes can read what is theirs.
    assert as_uid(lay.SIGNER_UID, READ, os.path.join(signer, "sign.key")).isdigit()
    assert as_uid(lay.PROVIDER_UID, READ, layout.path("provider", "state", "server.key")).isdigit()


def check_memory(pid):
    """Not through /proc either."""
    assert refused(as_uid(lay.PROVIDER_UID, READ, f"/proc/{pid}/environ"))
    assert refused(as_uid(lay.PROVIDER_UID, READ, f"/proc/{pid}/mem"))


def check_sockets(layout):
    run = os.path.join(layout.run, "signer")
    provider_socket, admin_socket = (os.path.join(run, n) for n in ("signer.sock", "signer-admin.sock"))
    assert as_uid(lay.PROVIDER_UID, ASK, provider_socket, HELLO) == "answer"
    assert refused(as_uid(STRANGER_UID, ASK, provider_socket, HELLO))
    assert refused(as_uid(lay.PROVIDER_UID, ASK, admin_socket, ROTATION))
    for path in (provider_socket, admin_socket):
        assert refused(as_uid(lay.PROVIDER_UID, REPLACE, path))


def wait_until(what, condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def command(layout, *argv):
    return subprocess.run([os.path.join(lay.BIN, "holdfast"), *argv, "--json"], capture_output=True,
                          text=True, timeout=30, check=False,
                          env={**os.environ, **lay.environment(layout, {})})


def main():
    if os.geteuid() != 0:
        print("skipped: only root can give processes other uids")
        return 77
    folder = tempfile.mkdtemp(prefix="hf-uids-")
    layout = lay.Layout(folder)
    if not layout.own_uids():
        print(f"skipped: other users cannot pass through to {lay.BIN}")
        return 77
    processes = []
    try:
        spec = layout.create("dir", {})
        lay.write_configs(layout, spec, {"url": "dir:" + layout.path("store")})
        for one in lay.processes(layout, spec)[:2]:
            with open(layout.path("log", one["name"]), "ab") as log:
                processes.append(subprocess.Popen(one["argv"], user=one["uid"], group=one["uid"],
                                                  extra_groups=[], stdout=log, stderr=log))

        def ready():
            done = command(layout, "info")
            return done.returncode == 0 and json.loads(done.stdout)["ready"]
        wait_until("the provider", ready)
        check_files(layout)
        check_memory(processes[0].pid)
        check_sockets(layout)
        before = json.loads(command(layout, "info").stdout)["signer_fingerprint"]
        assert command(layout, "signer", "rotate").returncode == 0  # root may
        wait_until("the new key", lambda: json.loads(command(layout, "info").stdout)["signer_fingerprint"] != before)
        for process in reversed(processes):
            process.terminate()
            assert process.wait(20) == 0
    except BaseException:
        for process in processes:
            process.kill()
        for name in os.listdir(layout.path("log")):
            with open(layout.path("log", name), encoding="utf-8") as log:
                print(f"---- {name}\n{log.read()}", file=sys.stderr)
        raise
    layout.remove_run()
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
