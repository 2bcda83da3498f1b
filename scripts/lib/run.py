"""Brings up a whole Holdfast on this machine: a provider, a gateway, one volume.

Without --check it prints how to use the volume and stays until Ctrl-C; what was written is there
again the next time. With --check it does the main job once and ends: a real file system image goes
through iSCSI into the object store and comes back from there without the gateway.
"""

import argparse
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import layout as lay
from lab import Lab, LabError, wait_until

DEFAULT_DIR = os.path.join(lay.TOP, "build", "holdfast")
IMAGE_MIB = 192
VOLUME_SIZE = "512MiB"
# A pattern written beside the file system: byte offset, length, byte value, flags of qemu-io.
PATTERNS = ((300 << 20, 1 << 20, 0x5A, "-f"), ((301 << 20) + 512, 7 << 10, 0xA5, ""))
RECOVERY_DEADLINE_S = 120


class Steps:
    """Runs the parts of the check and remembers how long each took."""

    def __init__(self):
        self.rows = []

    def run(self, what, function, *args):
        began = time.monotonic()
        print(f"  {what} …", end="", flush=True)
        result = function(*args)
        self.rows.append((what, time.monotonic() - began))
        print(f" {self.rows[-1][1]:.2f} s", flush=True)
        return result

    def total(self):
        return sum(seconds for _, seconds in self.rows)


def tool(*argv, **keywords):
    """Runs a program that is not ours; LabError with what it said if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=300, check=False, **keywords)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: "
                       f"{(done.stderr or done.stdout).strip()}")
    return done.stdout


def iscsi_url(volume):
    return f"iscsi://{volume['portal']}/{volume['target']}/{volume['lun']}"


def make_image(path):
    """An ext4 file system that holds this source tree."""
    with tempfile.TemporaryDirectory() as tree:
        for part in ("base", "cache", "remote", "gateway", "provider", "target", "docs"):
            shutil.copytree(os.path.join(lay.TOP, part), os.path.join(tree, part))
        with open(os.path.join(tree, "noise"), "wb") as f:
            f.write(os.urandom(16 << 20))
        tool("mkfs.ext4", "-q", "-F", "-d", tree, path, f"{IMAGE_MIB}M",
             env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})


def write_volume(image, volume):
    tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, iscsi_url(volume))
    commands = [f"write -P {value:#x} {flags} {offset} {length}"
                for offset, length, value, flags in PATTERNS]
    tool("qemu-io", "-f", "raw", *[x for c in commands + ["flush"] for x in ("-c", c)],
         iscsi_url(volume))


def compare(image, copy, size):
    """The whole volume: the image, the patterns, and zeros everywhere else."""
    expected = copy + ".expected"
    shutil.copyfile(image, expected)
    with open(expected, "r+b") as f:
        f.truncate(size)
        for offset, length, value, _ in PATTERNS:
            f.seek(offset)
            f.write(bytes([value]) * length)
    if os.path.getsize(copy) != size:
        raise LabError(f"{copy} has {os.path.getsize(copy)} bytes instead of {size}")
    if not filecmp.cmp(expected, copy, shallow=False):
        raise LabError(f"{copy} differs from what was written; see cmp {expected} {copy}")
    os.unlink(expected)


def read_back(image, volume, copy, size):
    tool("qemu-img", "convert", "-f", "raw", "-O", "raw", iscsi_url(volume), copy)
    compare(image, copy, size)
    os.unlink(copy)


def wait_for_recovery_point(lab, volume):
    """Until the store has everything that was written before the call."""
    def covered():
        try:
            shown = lab.ask("holdfast", "volume", "show", volume["volume_id"])
        except LabError:  # a provider that was just started again; the deadline holds all the same
            return False
        # A gateway that is not connected cannot say how things are now.
        return shown["gateway_connected"] and shown["recovery_point_lag_bytes"] == 0
    wait_until("the recovery point to cover every write", covered, RECOVERY_DEADLINE_S)


def rebuild(lab, image, volume, copy, size):
    """From the object store and the key alone."""
    key = os.path.join(lab.layout.path("gateway", "volumed", "keys"), volume["volume_id"] + ".key")
    options = ["--ca", lab.store["ca"]] if lab.store.get("ca") else []
    said = lab.command("holdfast-gateway", "export", volume["volume_id"], copy,
                       "--store", lab.store["url"], "--key", key, *options)
    compare(image, copy, size)
    with open(copy, "r+b") as f:
        f.truncate(IMAGE_MIB << 20)
    tool("/sbin/e2fsck", "-f", "-n", copy)
    os.unlink(copy)
    return said


def leftovers(lab):
    """Processes that still name this lab's folders."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                command = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(pid) != os.getpid() and (lab.layout.run in command or
                                        lab.layout.dir + "/" in command):
            found.append(f"{pid} {command.strip()}")
    return found


def check(lab, args):
    steps = Steps()
    image = lab.layout.path("image")
    copy = lab.layout.path("copy")
    print(f"Holdfast main job, object store: {args.store or 'dir'}", flush=True)
    try:
        steps.run("provider and gateway up, gateway activated", lambda: lab.up(
            args.store, with_parent=True))
        volume = steps.run("volume created from the provider's side", lambda: lab.ask(
            "holdfast", "volume", "create", "--gateway", "lab", "--name", f"check-{os.getpid()}",
            "--size", VOLUME_SIZE, "--wait"))
        size = lab.ask("holdfast", "volume", "show", volume["volume_id"])["size_bytes"]
        steps.run("ext4 image made", make_image, image)
        steps.run("image and patterns written over iSCSI", write_volume, image, volume)
        steps.run("whole volume read back over iSCSI and compared", read_back, image, volume,
                  copy, size)
        steps.run("recovery point covers every write", wait_for_recovery_point, lab, volume)
        steps.run("gateway and provider stopped", lambda: stop(lab, keep_store=True))
        said = steps.run("volume rebuilt from the object store alone, compared, e2fsck",
                         rebuild, lab, image, volume, copy, size)
    finally:
        lab.down()
    if leftovers(lab):
        raise LabError("still running: " + "; ".join(leftovers(lab)))
    print(said.strip())
    print(f"verified: {volume['volume_id']}, {size >> 20} MiB, {IMAGE_MIB} MiB of ext4 and "
          f"{len(PATTERNS)} patterns byte for byte over iSCSI and from the object store; "
          f"no process left; {steps.total():.1f} s")


def stop(lab, keep_store):
    """Every process of the product; the S3 server stays when it is still needed."""
    kind = lab.spec["store_kind"]
    lab.spec["store_kind"] = "dir" if keep_store else kind
    lab.down()
    lab.spec["store_kind"] = kind


def stay(lab, args):
    lab.up(args.store, with_parent=True)
    volumes = lab.ask("holdfast", "volume", "list")
    volume = volumes[0] if volumes else lab.ask(
        "holdfast", "volume", "create", "--gateway", "lab", "--name", "first", "--size", "1GiB",
        "--wait")
    volume = lab.ask("holdfast", "volume", "show", volume["volume_id"])
    exports = "\n".join(f"    export {k}='{v}'" for k, v in lab.env().items()
                        if not k.startswith("AWS_"))
    print(f"""
Holdfast is running; its state is in {lab.layout.dir}
Volume {volume['volume_id']} ({volume['name']}), {volume['size_bytes'] >> 20} MiB:

  with a kernel initiator (open-iscsi):
    iscsiadm -m discovery -t sendtargets -p {volume['portal']}
    iscsiadm -m node -T {volume['target']} -p {volume['portal']} --login
  without one (qemu-utils, qemu-block-extra):
    qemu-img info {iscsi_url(volume)}
    qemu-io -f raw -c 'write -P 0x42 0 1M' -c flush {iscsi_url(volume)}
  from another terminal:
    export PATH="{lay.BIN}:$PATH"
{exports}
    holdfast volume show {volume['volume_id']}
    holdfast-gateway status

Ctrl-C stops everything; the data stays.""", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    print("stopping", flush=True)
    lab.down()


def main():
    parser = argparse.ArgumentParser(prog="scripts/run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dir", help="state directory (default: build/holdfast; with --check a "
                        "new one that is removed at the end)")
    parser.add_argument("--store", choices=("dir", "s3"), help="object store (default: dir)")
    parser.add_argument("--check", action="store_true", help="do the main job once and end")
    args = parser.parse_args()
    directory = args.dir or (lay.scratch_folder("check-") if args.check else DEFAULT_DIR)
    lab = Lab(directory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.check:
            check(lab, args)
            if not args.dir:
                shutil.rmtree(directory)
        else:
            # Before the first child, so that an interrupt waits until we can stop in order.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            stay(lab, args)
    except KeyboardInterrupt:
        lab.down()
        if args.check and not args.dir:
            shutil.rmtree(directory)
        print("\ninterrupted", file=sys.stderr)
        return 130
    except (LabError, subprocess.TimeoutExpired) as e:
        lab.down()
        print(f"\nerror: {e}\nlogs: {lab.layout.path('log')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
