#!/usr/bin/python3 -B
"""Several write logs, and one that fills up, on real parts: tgtd with the plugin, volumed, a
directory as the store.

Promises: a log is added and removed while initiators write, remembered over kill -9, and costs
nothing that was acknowledged (invariant 1); a log that is missing at a start, or is an older copy of
itself, holds back only what is in it; with the store away a client goes on, slower and slower, and no command of its fails or takes
as long as it would wait (invariant 6). Ten minutes are compressed by settings; sim_pressure has them
in full.
"""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import at, qemu_io, qemu_io_argv  # noqa: E402
from story import BIN, BUILD, check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

ONE = "vol-0000000000000061"
TWO = "vol-0000000000000062"
SIZE_MIB = 64


def gateway(volumed, *words, allow=False):
    done = subprocess.run([os.path.join(BIN, "holdfast-gateway"), "log", *words, "--run-dir",
                           volumed.run], capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    check(allow or done.returncode == 0, f"log {words}: {done.stderr}")
    return done


def logs(volumed):
    return {os.path.basename(x["path"]): x
            for x in json.loads(gateway(volumed, "list", "--json").stdout)}


def client(url, first):
    commands = []
    for i in range(SIZE_MIB - 2):
        commands += [f"write -P {(first + i) % 200 + 1} {i}M 1M",
                     f"read -P {(first + i) % 200 + 1} {i}M 1M"]
    return subprocess.Popen(qemu_io_argv(at(url), commands), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)


def client_ends(process):
    said = process.communicate(timeout=120)[0]
    check(process.returncode == 0 and "failed" not in said.lower(), said[-2000:])


def verify(url, first):
    qemu_io(url, *(f"read -P {(first + i) % 200 + 1} {i}M 1M" for i in range(SIZE_MIB - 2)))


def logs_come_and_go(folder):
    volumed = Volumed(folder)
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    second = os.path.join(folder, "second")
    try:
        volumed.begin(ONE, SIZE_MIB)
        tgt.serve(ONE, SIZE_MIB)
        check(gateway(volumed, "remove", os.path.join(volumed.state, "log"),
                      allow=True).returncode == 2, "the first log stays")
        check(gateway(volumed, "add", "relative", "256MiB", allow=True).returncode == 2, "a path")
        check(gateway(volumed, "add", second, "1MiB", allow=True).returncode == 2, "a size")
        writer = client(tgt.url(), 1)
        gateway(volumed, "add", second, "256MiB")
        client_ends(writer)
        check(gateway(volumed, "add", second, "256MiB", allow=True).returncode == 5, "twice")
        volumed.attach(TWO, f"{SIZE_MIB}MiB", 1, "create")
        check(logs(volumed)["second"]["volumes"] == 1, f"a new volume goes there: {logs(volumed)}")
        volumed.kill()
        volumed.start()
        check(logs(volumed)["second"]["state"] == "serving", "it is remembered")
        check(tgt.lun(TWO, f"size={SIZE_MIB << 20}", lun=2), "the other LUN")
        writer = client(tgt.url(lun=2), 7)
        wait_until("writes", lambda: volumed.volume(TWO)["write_ops"] > 5)
        gateway(volumed, "remove", second)
        client_ends(writer)
        wait_until("the log to be drained", lambda: "second" not in logs(volumed), 60)
        check(not os.path.exists(second), "its file is gone")
        volumed.kill()
        volumed.start()
        check(list(logs(volumed)) == ["log"], "one is left")
        verify(tgt.url(), 1)
        verify(tgt.url(lun=2), 7)
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


def a_missing_log_holds_back_what_is_in_it(folder):
    volumed = Volumed(folder)
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    second = os.path.join(folder, "second")
    try:
        volumed.begin(ONE, SIZE_MIB)
        gateway(volumed, "add", second, "256MiB")
        volumed.attach(TWO, f"{SIZE_MIB}MiB", 1, "create")
        tgt.serve(ONE, SIZE_MIB)
        qemu_io(tgt.url(), "write -P 1 0 1M")
        volumed.kill()
        os.rename(second, second + "-away")
        volumed.start()
        check(logs(volumed)["second"]["state"] == "missing", "it says so")
        wait_until("the refusal", lambda: volumed.volume(TWO)["state"] == "failed")
        check("missing" in volumed.volume(TWO)["reason"], f"{volumed.volume(TWO)}")
        qemu_io(tgt.url(), "read -P 1 0 1M", "write -P 2 0 1M", "read -P 2 0 1M")
        volumed.stop()
        os.rename(second + "-away", second)
        shutil.copyfile(second, second + "-older")
        volumed.start()
        wait_until("both", lambda: all(volumed.volume(x)["state"] == "attached"
                                       for x in (ONE, TWO)))
        qemu_io(tgt.url(), "read -P 2 0 1M")
        volumed.stop()
        os.rename(second + "-older", second)
        for _ in range(3):  # it does not become the log by being tried
            volumed.start()
            check("older copy" in logs(volumed)["second"]["reason"], f"{logs(volumed)}")
            volumed.kill()
        volumed.start()
        qemu_io(tgt.url(), "read -P 2 0 1M")
        check(volumed.volume(TWO)["state"] == "failed", "what it has is not served without it")
        check(gateway(volumed, "forget", os.path.join(volumed.state, "log"),
                      allow=True).returncode != 0, "one that serves is not forgotten")
        gateway(volumed, "forget", second)
        volumed.kill()
        volumed.start()
        check("second" not in logs(volumed), "it is given up")
        wait_until("the volume from the store", lambda: volumed.volume(TWO)["state"] == "attached")
        qemu_io(tgt.url(), "read -P 2 0 1M")
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


def load(url, *options):
    return subprocess.Popen([os.path.join(BUILD, "tests", "bench_load"), *options, url],
                            stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def a_full_log_slows_and_fails_nothing(folder):
    # Four writes of 1 MiB at a time, each at most 4 s: half of the log, less its reserve, has to last
    # longer than the load (docs/design/back-pressure.md).
    wait_ms, seconds = 4000, 30
    volumed = Volumed(folder, log_horizon_ms=20000, write_wait_ms=wait_ms, log_size="512MiB")
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock")
    try:
        volumed.begin(ONE, SIZE_MIB)
        tgt.serve(ONE, SIZE_MIB)
        for options in (("--op", "randwrite", "--block", "4096", "--depth", "32"),
                        ("--op", "seqwrite", "--block", "1048576", "--depth", "4")):
            os.rename(volumed.store, volumed.store + "-away")
            running = load(tgt.url(), *options, "--seconds", str(seconds),
                           "--span", str(SIZE_MIB << 20))
            said = json.loads(running.communicate(timeout=seconds + 60)[0])
            longest_ms = said["max_us"] / 1000
            print(f"  {options[1]}: {said['ops']} commands, longest {longest_ms:.0f} ms, "
                  f"{logs(volumed)['log']['free_bytes'] >> 10} KiB left")
            check(running.returncode == 0 and said["errors"] == 0, f"{said}")
            check(longest_ms < wait_ms + 2000, f"a command took {longest_ms:.0f} ms")
            os.rename(volumed.store + "-away", volumed.store)
            wait_until("the uploads", lambda: volumed.drained(ONE), 60)
        volumed.stop()
    finally:
        tgt.end()
        volumed.end()


story((logs_come_and_go, a_missing_log_holds_back_what_is_in_it,
       a_full_log_slows_and_fails_nothing))
