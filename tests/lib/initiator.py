"""qemu's programs as iSCSI initiators, for scripted tests."""

import subprocess

from story import check

DEADLINE_S = 120


def at(url):
    """qemu-io's options for a LUN that needs no more than its URL."""
    return ["-f", "raw", url]


def qemu_io_argv(options, commands):
    return ["qemu-io", *options, *(x for command in commands for x in ("-c", command))]


def run_qemu_io(options, commands):
    """(exit status, what it said). qemu-io ends with 0 when a pattern does not match; what it says
    tells."""
    done = subprocess.run(qemu_io_argv(options, commands), capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    return 1 if "failed" in said.lower() else done.returncode, said


def qemu_io(url, *commands):
    status, said = run_qemu_io(at(url), commands)
    check(status == 0, f"{commands}: {said}")


def refused(url, *commands):
    status, said = run_qemu_io(at(url), commands)
    check(status != 0, f"{commands} worked: {said}")


def qemu_img(*arguments):
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, f"qemu-img {arguments}: {done.stderr}")
