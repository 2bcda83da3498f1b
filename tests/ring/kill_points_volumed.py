#!/usr/bin/python3 -B
"""The rows of docs/kill-points.md on the real volumed: its log, its recovery, a directory as the
store. Nothing but the ring's client stands in tgtd's place.

Promises: whatever step volumed is killed before, and killed again while it recovers, each request
is answered once with success and executed once (a COMPARE AND WRITE would miscompare with itself,
and the volume's sequence counts every write); whatever step the shim is killed before, what was
answered is there, and nothing of its ring happens after another one has the volume.
"""

import mmap
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from story import BUILD, Failure, check, story, wait_until  # noqa: E402
from volumed import Volumed  # noqa: E402

VOLUME = "vol-00000000000000e1"
WRITER = os.path.join(BUILD, "tests", "ring_writer")
REQUESTS = 240


class VolumedToKill(Volumed):
    program = os.path.join(BUILD, "tests", "volumed_to_kill")


def points():
    """Names and numbers of enum kill_point."""
    with open(os.path.join(HERE, "kill_points.h"), encoding="utf-8") as f:
        body = f.read().split("enum kill_point {")[1].split("};")[0]
    names = [line.split(",")[0].strip() for line in body.splitlines() if "," in line]
    return {name: number for number, name in enumerate(n for n in names if n.isupper())}


POINTS = points()
VOLUMED_ROWS = ["V_WELCOMES", "V_BINDS", "V_EMPTIES_WAKE", "V_TAKES", "V_SHOWS_TAKEN", "V_LOGS",
                "V_WRITES_BATCH", "V_SYNCS_BATCH", "V_ANSWERS_LOGGED", "V_PLACES", "V_PUBLISHES",
                "V_WAKES"]
SHIM_ROWS = ["S_PLACES", "S_PUBLISHES", "S_WAKES", "S_EMPTIES_WAKE", "S_COLLECTS",
             "S_SHOWS_COLLECTED", "S_SHOWS_OLDEST"]


class Switch:
    """The file through which a process learns where to die."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(12))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 12)

    def arm(self, point, countdown):
        self.map[0:8] = struct.pack("<II", POINTS[point], countdown)

    def kills(self):
        return struct.unpack("<I", self.map[8:12])[0]


class Row:
    def __init__(self, folder):
        self.folder = folder
        self.volumed = VolumedToKill(folder)
        self.answers = os.path.join(folder, "answers")
        with open(self.answers, "wb") as f:
            f.write(bytes(REQUESTS))
        self.switch_path = os.path.join(folder, "switch")
        self.switch = Switch(self.switch_path)

    def open(self):
        self.volumed.begin(VOLUME, 16)

    def writer(self, mode, **env):
        return subprocess.Popen([WRITER, f"{self.volumed.run}/ring.sock", self.answers, mode],
                                env={**os.environ, "HOLDFAST_LOG": "error", **env},
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, process, what):
        said = process.communicate(timeout=60)[1]
        check(process.returncode == 0, f"{what}: {process.returncode} {said}")

    def answered(self):
        with open(self.answers, "rb") as f:
            return f.read()


def volumed_dies(folder, point):
    row = Row(folder)
    os.environ["HOLDFAST_KILL_SWITCH"] = row.switch_path
    try:
        row.open()
        countdowns = [1, 1] if point in ("V_WELCOMES", "V_BINDS") else [2, 1, 3]
        row.switch.arm(point, countdowns[0])
        writer = row.writer("write", HOLDFAST_KILL_SWITCH="")
        for following in countdowns[1:] + [0]:
            row.volumed.process.wait(timeout=30)
            row.switch.arm(point, following)
            row.volumed.process = None
            try:
                row.volumed.start()
            except Failure:
                check(row.volumed.process.poll() is not None, "volumed starts or is killed")
        row.finish(writer, "the writer")
        check(row.switch.kills() == len(countdowns), f"{row.switch.kills()} kills")
        check(row.answered() == bytes([1]) * REQUESTS, "each request answered once")
        executed = row.volumed.volume(VOLUME)["last_sequence"]
        check(executed == REQUESTS, f"{executed} writes executed for {REQUESTS} requests")
        row.finish(row.writer("read", HOLDFAST_KILL_SWITCH=""), "the reader")
    finally:
        del os.environ["HOLDFAST_KILL_SWITCH"]
        row.volumed.end()


def shim_dies(folder, point):
    row = Row(folder)
    try:
        row.open()
        row.switch.arm(point, 3)
        writer = row.writer("write", HOLDFAST_KILL_SWITCH=row.switch_path)
        writer.communicate(timeout=60)
        check(writer.returncode == -9 and row.switch.kills() == 1, f"{writer.returncode}")
        row.finish(row.writer("read"), "the reader")
        executed = row.volumed.volume(VOLUME)["last_sequence"]
        answered = sum(row.answered()[i] for i in range(REQUESTS))
        check(executed <= REQUESTS and answered >= REQUESTS, f"{executed} {answered}")
        wait_until("the uploads", lambda: row.volumed.drained(VOLUME))
        row.volumed.stop()
    finally:
        row.volumed.end()


def case(function, point):
    def run(folder):
        function(folder, point)
    run.__name__ = point
    return run


story([case(volumed_dies, point) for point in VOLUMED_ROWS] +
      [case(shim_dies, point) for point in SHIM_ROWS])
