"""How a scripted test is told: cases with a folder each, checks, and waiting for a condition."""

import os
import shutil
import sys
import tempfile
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "scripts", "lib"))
from lab import wait_until  # noqa: E402,F401
from layout import (BIN, BUILD, PLUGIN, TGT_UID, box_config, free_ports,  # noqa: E402,F401
                    process_in, tgtd_argv, tgtd_env, write_config)


class Failure(Exception):
    """What did not hold."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def for_any_uid(program, folder):
    """A copy in `folder` that any uid may start; where the tree lies maybe only root may go."""
    copy = os.path.join(folder, os.path.basename(program))
    os.chmod(folder, 0o711)
    if not os.path.exists(copy):
        shutil.copy(program, copy)
    return copy


def story(cases):
    """Runs each case with a fresh folder; removes the folder unless it failed."""
    for case in cases:
        folder = tempfile.mkdtemp(prefix="hf-story-", dir="/tmp")
        began = time.monotonic()
        try:
            case(folder)
        except BaseException:
            print(f"FAILED {case.__name__}; see {folder}", file=sys.stderr)
            raise
        shutil.rmtree(folder)
        print(f"{case.__name__}: {time.monotonic() - began:.1f} s", flush=True)
