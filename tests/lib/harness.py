"""What the scripted tests share: a whole Holdfast in a folder of its own, and clients for it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

from initiator import run_qemu_io
from story import TOP, wait_until  # noqa: F401
import layout as lay  # found by story
from lab import Lab, LabError
from tgtd import Tgtd
from run import iscsi_url, leftovers, wait_for_recovery_point  # noqa: F401

# Small segments, so that they are used again and again.
SMALL_LOG = {"log_size": "256MiB", "segment_size": "32MiB"}
INITIATOR = "iqn.2026-11.net.holdfast:test"


@contextlib.contextmanager
def holdfast(store="dir", volumed=SMALL_LOG, tgtds=1):
    """A lab that is up; removed afterwards unless the test failed."""
    Tgtd.preload()
    directory = lay.scratch_folder("test-")
    lab = Lab(directory)
    try:
        lab.up(store, volumed, with_parent=True, tgtds=tgtds)
        yield lab
    except BaseException:
        print(f"logs are in {lab.layout.path('log')}", file=sys.stderr)
        raise
    finally:
        lab.down()
    shutil.rmtree(directory)


def create(lab, name, size="64MiB", *options):
    return lab.ask("holdfast", "volume", "create", "--gateway", "lab", "--name", name, "--size",
                   size, *options, "--wait")


def show(lab, volume):
    return lab.ask("holdfast", "volume", "show", volume["volume_id"])


def qemu_io(volume, *commands, user=None, initiator=INITIATOR):
    """Runs qemu-io's commands on the LUN; (exit status, what it said). Secrets go through a file
    of options, as a careful user would do it."""
    options = f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={volume['portal']}," \
              f"file.target={volume['target']},file.lun={volume['lun']}," \
              f"file.initiator-name={initiator}"
    if not user:
        return run_qemu_io(["--image-opts", options], commands)
    with tempfile.NamedTemporaryFile("w", suffix=".secret") as secret:
        secret.write(user[1])
        secret.flush()
        options += f",file.user={user[0]},file.password-secret=chap"
        return run_qemu_io(["--object", f"secret,id=chap,file={secret.name}", "--image-opts",
                            options], commands)


def must(volume, *commands, **keywords):
    status, said = qemu_io(volume, *commands, **keywords)
    if status != 0:
        raise LabError(f"{commands}: {said.strip()}")


def must_not(volume, *commands, **keywords):
    status, said = qemu_io(volume, *commands, **keywords)
    if status == 0:
        raise LabError(f"{commands} succeeded and must not: {said.strip()}")
    return said


def refused(lab, *argv):
    """A command that must fail; what it said on standard error."""
    done = subprocess.run([os.path.join(lay.BIN, argv[0]), *argv[1:]], capture_output=True,
                          text=True, env={**os.environ, **lab.env()}, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        raise LabError(f"{' '.join(argv)} succeeded and must not")
    if done.returncode < 0 or not done.stderr.strip():
        raise LabError(f"{' '.join(argv)} gave no clear error: exit {done.returncode}")
    return done.stderr
