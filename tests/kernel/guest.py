"""A Linux kernel with the distribution's own iSCSI initiator, without a machine: User-Mode Linux
behind user-mode networking (slirp.c). The host's loopback is 10.0.2.2. The guest runs one command at
a time and says how each ended."""

import os
import re
import select
import subprocess
import time

from initramfs import build_initramfs
from story import BUILD, Failure

HOST = "10.0.2.2"
BOOT_DEADLINE_S = 120
LINUX = "/usr/bin/linux.uml"


class Guest:
    """A running guest; a context manager that leaves nothing behind."""

    def __init__(self, folder):
        self.folder = folder
        self.console = os.path.join(folder, "console.log")
        self.process = None
        self.pending = b""

    def __enter__(self):
        initramfs = os.path.join(self.folder, "initramfs")
        build_initramfs(initramfs)
        to_guest, self.commands = os.pipe()
        self.answers, from_guest = os.pipe()
        for fd in (to_guest, from_guest):
            os.set_inheritable(fd, True)
        argv = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child",
                os.path.join(BUILD, "tests", "slirp"), "9",
                LINUX, f"initrd={initramfs}", "mem=256M", "root=/dev/ram0", "rdinit=/init",
                "quiet", "panic=-1", "con0=null,fd:1", "con=null",
                f"ssl0=fd:{to_guest},fd:{from_guest}", "ssl=null",
                f"uml_dir={self.folder}", "umid=guest", "vec0:transport=fd,fd=9,mtu=9000"]
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                pass_fds=(to_guest, from_guest))
        os.close(to_guest)
        os.close(from_guest)
        try:
            self.until(b"@@ready", BOOT_DEADLINE_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def until(self, pattern, deadline_s):
        """What the guest says up to a match; the match."""
        end = time.monotonic() + deadline_s
        while True:
            match = re.search(pattern, self.pending)
            if match:
                said, self.pending = self.pending[:match.start()], self.pending[match.end():]
                return said, match
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                raise Failure(f"the guest did not answer in {deadline_s} s, but said "
                              f"{self.pending[-300:]!r}; see {self.console}")
            more = os.read(self.answers, 65536)
            if not more:
                raise Failure(f"the guest ended; see {self.console}")
            self.pending += more

    def start(self, command):
        """Begins a command; `finish` waits for it."""
        os.write(self.commands, command.replace("\n", "; ").encode() + b"\n")

    def finish(self, deadline_s=60):
        """(exit status, output) of the command that was begun."""
        said, match = self.until(rb"\r?\n@@(\d+)\r?\n", deadline_s)
        return int(match.group(1)), said.decode(errors="replace").replace("\r", "").strip()

    def run(self, command, deadline_s=60, background=False):
        """Runs a command that must succeed; its output. In the background nobody waits for it."""
        self.start(f"{{ {command}\n}} >/dev/null 2>&1 &" if background else command)
        status, said = self.finish(deadline_s)
        if status != 0:
            raise Failure(f"in the guest: {command}: exit {status}: {said}")
        return said

    def fails(self, command, deadline_s=60):
        """Runs a command that must fail; its output."""
        self.start(command)
        status, said = self.finish(deadline_s)
        if status == 0:
            raise Failure(f"in the guest: {command}: succeeded and must not: {said}")
        return said
