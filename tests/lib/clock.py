"""Clocks of processes that jump while they run (libfaketime)."""

import glob
import os

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


def moved_by(path):
    """The environment of a process whose clock is off by what stands in the file."""
    set_clock(path, 0)
    return {"LD_PRELOAD": LIBRARY[0], "FAKETIME_TIMESTAMP_FILE": path, "NO_FAKE_STAT": "1",
            "FAKETIME_CACHE_DURATION": "1", "DONT_FAKE_MONOTONIC": "1"}


def set_clock(path, seconds):
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{seconds:+d}")
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)
