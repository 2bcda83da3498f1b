"""tests/crash/verifier.c, an initiator that writes, reads and verifies all the time, for scripts."""

import json
import os
import selectors
import subprocess

import layout as lay  # found by story
from lab import LabError

CHECK_DEADLINE_S = 60


class Verifier:
    """The client; asks it to drain and report."""

    def __init__(self, volume, mode):
        self.process = subprocess.Popen(
            [os.path.join(lay.BUILD, "tests", "verifier"), volume["portal"], volume["target"],
             str(volume["lun"]), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def check(self, last=False):
        if last:
            self.process.stdin.close()
        else:
            self.process.stdin.write("check\n")
            self.process.stdin.flush()
        if not self.selector.select(CHECK_DEADLINE_S):
            raise LabError(f"the client did not finish within {CHECK_DEADLINE_S} s")
        line = self.process.stdout.readline()
        if not line:
            raise LabError(f"the client ended with {self.process.wait()}")
        seen = json.loads(line)
        if not seen["ok"]:
            raise LabError(f"the client saw a violation: {seen}")
        return seen
