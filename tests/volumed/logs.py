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
from initiator import at, qemu_io, qemu_io_argv, refused  # noqa: E402
from story import BIN, BUILD, check, story, wait_until  # noqa: E402
from tgtd import Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

ONE = "vol-0000000000000061"
TWO = "vol-0000000000000062"
THREE = "vol-0000000000000063"
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


class ThreeLogs:
    """Three logs, a volume in each, with writes that only the logs have."""

    def __init__(self, folder):
        self.volumed = Volumed(folder)
        self.tgt = Tgtd(folder, f"{self.volumed.run}/ring.sock", HOLDFAST_DEADLINE_MS="3000")
        self.paths = [os.path.join(self.volumed.state, "log"), os.path.join(folder, "second"),
                      os.path.join(folder, "third")]
        self.volumes = [ONE, TWO, THREE]
        self.kept = os.path.join(folder, "kept")

    def begin(self):
        self.volumed.begin(ONE, SIZE_MIB)
        self.tgt.serve(ONE, SIZE_MIB)
        for i in (1, 2):
            gateway(self.volumed, "add", self.paths[i], "256MiB")
            self.volumed.attach(self.volumes[i], f"{SIZE_MIB}MiB", 1, "create")
            self.tgt.lun(self.volumes[i], f"size={SIZE_MIB << 20}", lun=i + 1)
        check(all(one["volumes"] == 1 for one in logs(self.volumed).values()), "one in each")
        self.away()
        for i in range(3):
            qemu_io(self.url(i), f"write -P {i + 1} 0 1M", "flush")

    def away(self):
        os.rename(self.volumed.store, self.volumed.store + "-away")

    def back(self):
        os.rename(self.volumed.store + "-away", self.volumed.store)

    def url(self, i):
        return self.tgt.url(lun=i + 1)

    def keep(self):
        for i, path in enumerate(self.paths):
            shutil.copyfile(path, f"{self.kept}{i}")

    def restore(self, *which):
        for i in which:
            shutil.copyfile(f"{self.kept}{i}", self.paths[i])

    def damage(self, i):
        with open(self.paths[i], "r+b") as f:  # both copies of the segment table
            f.seek(8192)
            f.write(bytes(8192))

    def serves(self, *which, patterns=(1, 2, 3)):
        """Exactly these, each with what was written last; the others fail and say why."""
        states = {i: self.volumed.volume(v) for i, v in enumerate(self.volumes)}
        for i, one in states.items():
            if i in which:
                check(one["state"] in ("opening", "attached"), f"volume {i}: {one}")
                qemu_io(self.url(i), f"read -P {patterns[i]} 0 1M")
            else:
                check(one["state"] == "failed" and one["reason"], f"volume {i}: {one}")
                refused(self.url(i), "read 0 4k")

    def told(self, i, what):
        one = logs(self.volumed)[os.path.basename(self.paths[i])]
        check(one["state"] == "missing" and what in one["reason"], f"log {i}: {one}")


def several_faults_at_once(folder):
    """Logs that are missing, damaged, or another's copy, also together: what is whole is served,
    everything else is refused by name, and nothing older ever comes back as the newest (1, 8)."""
    three = ThreeLogs(folder)
    volumed = three.volumed
    try:
        three.begin()
        volumed.kill()
        three.keep()
        # One is missing and another damaged.
        os.remove(three.paths[1])
        three.damage(2)
        volumed.start()
        three.told(1, "")
        three.told(2, "segment table")
        three.serves(0)
        volumed.kill()
        three.restore(1, 2)
        # A copy of one at the path of another: the right one serves, whichever opens first.
        three.restore(1)
        shutil.copyfile(three.paths[1], three.paths[2])
        for i in range(3):
            volumed.start()
            three.told(2, "another log")
            three.serves(0, 1, patterns=(1, 2 if i == 0 else 20 + i, 3))
            qemu_io(three.url(1), f"write -P {21 + i} 0 1M", "flush")
            volumed.kill()
        # Nor does the copy stand in for it when it is gone.
        os.rename(three.paths[1], three.paths[1] + "-gone")
        volumed.start()
        three.serves(0)
        volumed.kill()
        os.rename(three.paths[1] + "-gone", three.paths[1])
        three.restore(2)
        volumed.start()
        three.serves(0, 1, 2, patterns=(1, 23, 3))
        volumed.kill()
        # All at once: it does not start, and says of one why; nothing was changed by that.
        three.keep()
        for i in range(3):
            three.damage(i)
        done = subprocess.run([volumed.program, "--config", volumed.config], capture_output=True,
                              text=True, timeout=60, check=False)
        check(done.returncode > 0 and "segment table" in done.stderr, done.stderr)
        three.restore(0, 1, 2)
        volumed.start()
        three.serves(0, 1, 2, patterns=(1, 23, 3))
        the_store_is_set_back(three)
    finally:
        three.tgt.end()
        volumed.end()


def the_store_is_set_back(three):
    """A store of yesterday is no store of today, for any volume that it had confirmed more of."""
    volumed = three.volumed
    three.back()
    wait_until("the uploads", lambda: all(volumed.drained(v) for v in three.volumes), 60)
    wait_until("the log to know", lambda: all(x["needed_records"] == 0
                                              for x in logs(volumed).values()))
    shutil.copytree(volumed.store, volumed.store + "-yesterday")
    for i in (0, 2):
        qemu_io(three.url(i), f"write -P {31 + i} 0 1M", "flush")
    wait_until("the uploads", lambda: all(volumed.drained(v) for v in three.volumes), 60)
    wait_until("the log to know", lambda: all(x["needed_records"] == 0
                                              for x in logs(volumed).values()))
    volumed.kill()
    os.rename(volumed.store, volumed.store + "-today")
    os.rename(volumed.store + "-yesterday", volumed.store)
    volumed.start()
    wait_until("them to be told apart", lambda: volumed.volume(TWO)["state"] == "attached" and
               all(volumed.volume(v)["state"] == "failed" for v in (ONE, THREE)))
    three.serves(1, patterns=(1, 23, 3))
    check(any(ONE in alarm for alarm in volumed.status()["alarms"]), "an alarm tells")
    volumed.kill()
    shutil.rmtree(volumed.store)
    os.rename(volumed.store + "-today", volumed.store)
    volumed.start()
    wait_until("all of them", lambda: all(volumed.volume(v)["state"] == "attached"
                                          for v in three.volumes))
    three.serves(0, 1, 2, patterns=(31, 23, 33))
    volumed.stop()


story((logs_come_and_go, a_missing_log_holds_back_what_is_in_it,
       a_full_log_slows_and_fails_nothing, several_faults_at_once))
