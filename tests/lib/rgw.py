"""A RADOS Gateway of a test's own, for scripted tests."""

import contextlib
import json
import os
import subprocess

RGW = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "scripts", "lib", "rgw")


@contextlib.contextmanager
def rados_gateway(directory, *options):
    """What `rgw start` wrote down of it: url, endpoint, bucket, access_key, secret_key, ca."""
    try:
        subprocess.run([RGW, "start", directory, *options], check=True, timeout=250,
                       stdout=subprocess.DEVNULL)
        with open(os.path.join(directory, "rgw.json"), encoding="utf-8") as f:
            yield json.load(f)
    finally:
        subprocess.run([RGW, "stop", directory], check=True, timeout=60)
