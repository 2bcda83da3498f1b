"""A whole gateway (supervisor, volumed, tgtd, broker, agent) at a provider that runs elsewhere, and
what outsiders see of it: processes that end, targets and sizes at its portal."""

import os
import re
import shutil
import signal
import subprocess

import layout as lay  # found by story
from clock import moved_by
from harness import SMALL_LOG
from lab import Lab, LabError
from story import check, wait_until


class WholeGateway(Lab):
    """`activation` is the provider's endpoint, `provider` answers the administrator (cluster.py)."""

    def __init__(self, name, activation, faked_clock=False):
        super().__init__(lay.scratch_folder("gateway-"))
        self.name, self.killed = name, set()
        self.clock = self.layout.path("clock") if faked_clock else None
        self.spec = {**self.layout.create("dir", SMALL_LOG), "provider": activation}
        if self.clock:
            self.spec["env"] = {"agent": moved_by(self.clock)}
        self.store = self.spec["store"] = {"url": "dir:/none"}  # the documents name it
        lay.write_json(self.layout.spec_file, self.spec)

    def start_all(self):
        self.start("dir", SMALL_LOG, with_parent=True, tgtds=1)

    def open_store(self):
        return self.store

    def join(self, provider):
        key = wait_until("a key is shown", lambda: self.looked("activation_key"))
        provider.must("gateway", "activate", key, "--name", self.name)
        provider.must("gateway", "confirm", self.name, "--wait")

    def looked(self, field):
        """Of what the agent says of itself; None: it does not answer."""
        try:
            return (self.ask("holdfast-gateway", "status")["agent"] or {}).get(field)
        except (LabError, ValueError, KeyError, subprocess.TimeoutExpired):
            return None

    def close(self):
        self.down()
        shutil.rmtree(self.layout.dir)

    # ---- Processes

    def kill(self, name):
        """kill -9. What the supervisor says of that process's end is ours."""
        try:
            known = lay.read_json(self.layout.pids_file)["pids"].get(name)
            pid = lay.process_in(known) if name == "tgtd" else known
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.killed.add((name, known))
        except (OSError, ValueError):
            pass  # it is gone already

    def ended(self, name):
        """How often the process ended so far as its supervisor saw it: (by us, otherwise)."""
        with open(self.layout.path("log", "supervisor.log"), encoding="utf-8") as log:
            pids = [int(m.group(1)) for m in re.finditer(
                rf"^{re.escape(name)} (\d+) ended with", log.read(), re.M)]
        ours = sum((name, pid) in self.killed for pid in pids)
        return ours, len(pids) - ours

    # ---- What others see

    def portal(self):
        return lay.address(self.spec, "portal")

    def epochs(self):
        """Of the connections that its agent was told it holds, in order."""
        with open(self.layout.path("log", "holdfast-agent.log"), encoding="utf-8") as log:
            return [int(m.group(1)) for m in re.finditer(r"held by \S+ with epoch (\d+)",
                                                         log.read())]

    def promotions(self):
        """How often a standby became the connection that it is commanded through."""
        with open(self.layout.path("log", "holdfast-agent.log"), encoding="utf-8") as log:
            text = log.read()
        standby, count = None, 0
        for m in re.finditer(r"(standby at|held by) (\S+)", text):
            if m.group(1) == "standby at":
                standby = m.group(2)
            else:
                count += m.group(2) == standby
                standby = None
        return count

    def targets(self):
        """Names, as an initiator discovers them."""
        done = subprocess.run(["iscsi-ls", f"iscsi://{self.portal()}"], capture_output=True,
                              text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        check(done.returncode == 0, f"discovery at {self.portal()}: {done.stderr}")
        return sorted(re.findall(r"Target:(\S+)", done.stdout))
