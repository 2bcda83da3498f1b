#!/usr/bin/env python3
"""The command `holdfast` as an administrator meets it: every mistake gets one clear line and its own
exit status (invariant 9), every answer is JSON where asked for, no secret is an argument. Against a
real provider and signer; HF_BUILD names the build folder."""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.path.join(os.environ["HF_BUILD"], "bin")
# Exit statuses of base/err.h.
INVALID, MISSING, EXISTS, AWAY, REFUSED = 2, 4, 5, 7, 8


def holdfast(*args, run_dir=None, env=None):
    environment = {k: v for k, v in os.environ.items() if k != "HOLDFAST_PROVIDER_RUN"}
    if run_dir:
        environment["HOLDFAST_PROVIDER_RUN"] = run_dir
    environment.update(env or {})
    return subprocess.run([os.path.join(BIN, "holdfast"), *args], env=environment,
                          capture_output=True, text=True, timeout=60)


def expect_error(result, status, *words):
    what = " ".join(result.args[1:])
    assert result.returncode == status, f"{what}: exit {result.returncode}, not {status}: {result.stderr}"
    assert result.stderr.startswith("holdfast: "), f"{what}: {result.stderr!r}"
    assert len(result.stderr.strip().splitlines()) == 1, f"{what}: {result.stderr!r}"
    for word in words:
        assert word in result.stderr, f"{what}: no {word!r} in {result.stderr!r}"


def check_arguments():
    """Mistakes that need no provider to be found."""
    create = ["volume", "create", "--gateway", "g", "--name", "n", "--size", "1GiB"]
    for args, word in [
        ([], "--help"),
        (["volume"], "unknown verb"),
        (["volumes", "list"], "unknown verb"),
        (["volume", "explode"], "unknown verb"),
        (["volume", "show"], "VOLUME is missing"),
        (["volume", "show", "a", "b"], "unexpected"),
        (["volume", "list", "extra"], "unexpected"),
        (["volume", "create"], "--name NAME is missing"),
        (["volume", "create", "--name", "n", "--gateway", "g"], "--size SIZE is missing"),
        (["volume", "attach", "v"], "--gateway GATEWAY is missing"),
        (["gateway", "activate", "--name", "x"], "KEY is missing"),
        (["gateway", "activate", "KEY"], "--name NAME is missing"),
        (create + ["--nonsense"], "unknown option"),
        (create + ["--name", "m"], "twice"),
        (create + ["--run-dir"], "wants DIR"),
        (create + ["--run-dir", ""], "wants DIR"),
        (create + ["--wait=yes"], "no value"),
        (create + ["--timeout", "5"], "--wait"),
        (create + ["--wait", "--timeout", "0"], "seconds"),
        (create + ["--wait", "--timeout", "soon"], "seconds"),
        (create + ["--write-cache", "maybe"], "on or off"),
        (create + ["--chap-user", "alice"], "belong together"),
        (create + ["--mutual-user", "m"], "belong together"),
        (create + ["--chap-secret", "visible-to-all"], "unknown option"),
        (create + ["--initiator", "10.0.0.1"] * 17, "at most"),
        (["volume", "create", "--size", "big"], "KiB"),
        (["volume", "create", "--size", "1GB"], "KiB"),
        (["volume", "create", "--size", "99999999TiB"], "KiB"),
        (["volume", "show", "v", "--force"], "does not belong"),
        (["volume", "list"], "HOLDFAST_PROVIDER_RUN"),
    ]:
        expect_error(holdfast(*args), INVALID, word)
    expect_error(holdfast("volume", "list", "--run-dir", "/tmp/" + "x" * 120), INVALID, "too long")
    expect_error(holdfast("volume", "list", "--run-dir", "/nonexistent"), AWAY, "/nonexistent/provider.sock")
    for args in [["--help"], ["volume", "create", "--help"], ["--version"]]:
        result = holdfast(*args)
        assert result.returncode == 0 and result.stdout and not result.stderr, args


def check_secret_files(folder):
    path = os.path.join(folder, "secret")
    create = ["volume", "create", "--gateway", "g", "--name", "n", "--size", "1GiB", "--chap-user",
              "alice", "--chap-secret-file", path]
    expect_error(holdfast(*create, run_dir=folder), MISSING, path)
    for content, word in [(b"", "empty"), (b"\n", "empty"), (b"a\0b", "zero byte")]:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        expect_error(holdfast(*create, run_dir=folder), INVALID, word)
    os.unlink(path)


def a_key():
    """A well-formed activation key that nobody shows (docs/protocol/activation.md, "The key")."""
    half = bytes(range(18))  # number and hash
    bits = int.from_bytes(half, "big") << 6 | hashlib.sha256(half).digest()[0] >> 2
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(symbols[bits >> shift & 31] for shift in range(145, -5, -5))


def check_answers(run, folder):
    """Mistakes that the provider finds, and what it lists."""
    def ask(*args):
        return holdfast(*args, run_dir=run)

    create = ["volume", "create", "--gateway", "nobody", "--name", "n"]
    for args, status, word in [
        (create + ["--size", "1GiB"], MISSING, "no gateway nobody"),
        (create + ["--size", "1000KiB"], INVALID, "1MiB to 32TiB"),
        (create + ["--size", "33TiB"], INVALID, "1MiB to 32TiB"),
        (create + ["--size", "1048577"], INVALID, "multiple of 4096"),
        (create[:-1] + ["no/slash", "--size", "1GiB"], INVALID, "A-Z"),
        (create + ["--size", "1GiB", "--initiator", "somebody"], INVALID, "initiator"),
        (["volume", "show", "missing"], MISSING, "no volume missing"),
        (["volume", "show", "vol-0123456789abcdef"], MISSING, "no volume"),
        (["volume", "show", "a b"], INVALID, "neither"),
        (["volume", "detach", "missing"], MISSING, "no volume"),
        (["volume", "delete", "missing", "--force"], MISSING, "no volume"),
        (["gateway", "show", "sgw-0123456789abcdef"], MISSING, "no gateway"),
        (["gateway", "confirm", "nobody"], MISSING, "no gateway"),
        (["gateway", "activate", "XXXX", "--name", "x"], INVALID, "activation key"),
        (["gateway", "activate", a_key(), "--name", "not good"], INVALID, "A-Z"),
    ]:
        expect_error(ask(*args), status, word)
    short = os.path.join(folder, "short")
    with open(os.open(short, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("short\n")
    refused = ask(*create, "--size", "1GiB", "--chap-user", "alice", "--chap-secret-file", short)
    expect_error(refused, INVALID, "12 to 64")
    for verb in ["gateway", "volume"]:
        listed = ask(verb, "list", "--json")
        assert listed.returncode == 0 and json.loads(listed.stdout) == [], listed
        assert ask(verb, "list").returncode == 0
    info = json.loads(ask("info", "--json").stdout)
    assert info["tenant"].startswith("t-") and info["ready"] is True, info
    assert "ready:" in ask("--run-dir", run, "info").stdout


def wait_ready(run):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        result = holdfast("info", "--json", run_dir=run)
        if result.returncode == 0 and json.loads(result.stdout)["ready"]:
            return
        time.sleep(0.05)
    raise AssertionError("the provider does not get ready")


def check_daemons(folder):
    """The daemons' own command lines and configurations."""
    for name in ["holdfast-signer", "holdfast-provider"]:
        program = os.path.join(BIN, name)

        def run(*args):
            return subprocess.run([program, *args], capture_output=True, text=True, timeout=20)

        assert run("--help").returncode == 0 and "state_dir" in run("--help").stdout
        assert run("--version").returncode == 0
        assert run().returncode == INVALID
        assert run("--config").returncode == INVALID
        assert run("--config", "/nonexistent").returncode == MISSING
        path = os.path.join(folder, "bad.conf")
        for text, word in [("nonsense\n", ":1:"), ("run_dir = /x\nrun_dir = /y\n", ":2:"),
                           ("unknown = 1\n", "unknown"), ("run_dir = /x\n", "missing")]:
            with open(path, "w") as file:
                file.write(text)
            for extra in [[], ["--check-config"]]:
                result = run("--config", path, *extra)
                assert result.returncode == INVALID and word in result.stderr, (name, text, result)
    with open(path, "w") as file:
        file.write("run_dir = /x\nstate_dir = /y\nchannel_listen = nowhere\n"
                   "activation_listen = 127.0.0.1:0\nstore_url = dir:/z\n")
    result = run("--config", path, "--check-config")
    assert result.returncode == INVALID and "channel_listen" in result.stderr, result


def check_busy_port(folder, run):
    """A port that somebody has: the provider says which and ends, on its first start and later."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        state = os.path.join(folder, "second")
        path = os.path.join(folder, "second.conf")
        os.mkdir(os.path.join(folder, "run2"))
        os.symlink(os.path.join(run, "signer.sock"), os.path.join(folder, "run2", "signer.sock"))
        with open(path, "w") as file:
            file.write(f"run_dir = {folder}/run2\nstate_dir = {state}\nstore_url = dir:{folder}/store\n"
                       f"channel_listen = 127.0.0.1:{port}\nactivation_listen = 127.0.0.1:0\n")
        for _ in range(2):
            result = subprocess.run([os.path.join(BIN, "holdfast-provider"), "--config", path],
                                    capture_output=True, text=True, timeout=20)
            assert result.returncode != 0 and str(port) in result.stderr, result


def main():
    with tempfile.TemporaryDirectory(prefix="hf-cli-", dir="/tmp") as folder:
        run = os.path.join(folder, "run")
        for name in ["run", "signer", "provider"]:
            os.mkdir(os.path.join(folder, name), 0o700)
        with open(os.path.join(folder, "signer.conf"), "w") as file:
            file.write(f"run_dir = {run}\nstate_dir = {folder}/signer\n")
        with open(os.path.join(folder, "provider.conf"), "w") as file:
            file.write(f"run_dir = {run}\nstate_dir = {folder}/provider\nstore_url = dir:{folder}/store\n"
                       "channel_listen = 127.0.0.1:0\nactivation_listen = 127.0.0.1:0\n")
        check_arguments()
        check_secret_files(folder)
        check_daemons(folder)
        processes = [subprocess.Popen([os.path.join(BIN, f"holdfast-{name}"), "--config",
                                       os.path.join(folder, f"{name}.conf")],
                                      stderr=open(os.path.join(folder, f"{name}.log"), "w"))
                     for name in ["signer", "provider"]]
        try:
            wait_ready(run)
            check_answers(run, folder)
            check_busy_port(folder, run)
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            statuses = [process.wait(timeout=20) for process in processes]
        assert statuses == [0, 0], statuses
    print("every mistake has its line, every answer its JSON")


if __name__ == "__main__":
    sys.exit(main())
