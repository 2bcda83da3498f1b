#!/usr/bin/python3 -B
"""A customer's server: a real Linux kernel's initiator in front of a whole Holdfast.

Promises: it logs in with CHAP and only with the right secret (invariant 7); makes a file system,
writes, discards and grows online; survives kill -9 of volumed and of tgtd within seconds, with no
I/O error and every file that was synced intact (invariant 1).
"""

import os
import shutil
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import LabError, create, holdfast, wait_until  # noqa: E402
from guest import HOST, Guest  # noqa: E402

MIB = 1 << 20
SECRET = "correct-horse-9"
ROUNDS = 3  # kills of each process
STALL_LIMIT_S = {"holdfast-volumed": 10, "tgtd": 30}  # "within seconds", on a busy machine too
# A file a turn, synced; it is in /run/acked only once it is promised.
WRITER = """n=$(wc -l < /run/acked); while [ ! -e /run/stop ]; do n=$((n+1))
dd if=/dev/urandom of=/mnt/f$n bs=65536 count=1 conv=fsync 2>/dev/null || exit 1
echo "$(md5sum < /mnt/f$n | cut -d' ' -f1)  /mnt/f$n" >> /run/acked
cut -d' ' -f1 /proc/uptime >> /run/times; done"""
LONGEST_WAIT = "awk 'NR>1&&$1-p>m{m=$1-p}{p=$1}END{print m+0}' /run/times"


def log_in(guest, volume):
    portal = f"{HOST}:{volume['portal'].rsplit(':', 1)[1]}"
    node = f"iscsiadm -m node -T {volume['target']} -p {portal}"
    guest.run(f"{node} -o new")
    guest.run(f"{node} -o update -n node.session.auth.authmethod -v CHAP")
    guest.run(f"{node} -o update -n node.session.auth.username -v alice")
    guest.run(f"{node} -o update -n node.session.auth.password -v wrong-horse-99")
    said = guest.fails(f"{node} --login")
    if "authorization failure" not in said:
        raise LabError(f"a wrong secret was answered: {said}")
    guest.run(f"{node} -o update -n node.session.auth.password -v {SECRET}")
    guest.run(f"{node} --login")
    guest.run("until ls /sys/class/scsi_disk/*/device/block/* >/dev/null 2>&1; do sleep 0.1; done")
    name = guest.run("basename /sys/class/scsi_disk/*/device/block/*")
    print(f"the kernel logged in with CHAP, not with a wrong secret: /dev/{name}")
    return node, "/dev/" + name


def make_file_system(guest, disk):
    guest.run(f"/sbin/mke2fs -q -t ext4 {disk} && mount -t ext4 {disk} /mnt", 120)
    guest.run("head -c 20000000 /dev/urandom > /mnt/first && sync && md5sum /mnt/first > /run/first",
              120)
    guest.run("touch /run/acked")
    print("a file system, and 20 MB in it")


def grow(lab, guest, volume, disk):
    size = 128 * MIB
    lab.command("holdfast", "volume", "grow", volume["volume_id"], "--size", str(size), "--wait")
    block = os.path.basename(disk)
    # The unit attention comes with whatever command is next; then a person rescans.
    guest.run(f"dd if={disk} of=/dev/null bs=4096 count=1 iflag=direct; "
              f"echo 1 > /sys/block/{block}/device/rescan")
    seen = int(guest.run(f"/sbin/blockdev --getsize64 {disk}"))
    if seen != size:
        raise LabError(f"the kernel sees {seen} bytes of {size}")
    if "capacity data has changed" not in guest.run("dmesg").lower():
        raise LabError("the kernel was not told by a unit attention that the capacity changed")
    guest.run(f"/sbin/resize2fs {disk}", 120)
    free = int(guest.run("df -m /mnt | awk 'NR==2{print $4}'"))
    if free < 64:
        raise LabError(f"{free} MiB free after growing")
    print(f"grown online to {size // MIB} MiB; the kernel was told, the file system uses it")


def acked(guest):
    return int(guest.run("wc -l < /run/acked"))


def kill_under_writer(lab, guest, victim):
    guest.run("rm -f /run/stop /run/times /run/end")
    guest.run(f"( {WRITER} )\necho $? > /run/end", background=True)
    for _ in range(ROUNDS):
        before = acked(guest)
        wait_until("files to be written", lambda before=before: acked(guest) > before + 10, 120)
        old = lab.status()["pids"][victim]
        os.kill(old, signal.SIGKILL)
        wait_until(victim, lambda old=old: lab.status()["pids"].get(victim) not in (None, old))
    before = acked(guest)
    wait_until("files after the last kill", lambda: acked(guest) > before + 10, 120)
    guest.run("touch /run/stop; until [ -e /run/end ]; do sleep 0.1; done; [ $(cat /run/end) = 0 ]")
    waited_s = float(guest.run(LONGEST_WAIT))
    if waited_s > STALL_LIMIT_S[victim]:
        raise LabError(f"the writer waited {waited_s} s after a kill of {victim}")
    print(f"{victim} killed {ROUNDS} times under a writer: {acked(guest)} synced files so far, "
          f"longest wait {waited_s:.1f} s")


def verify(guest):
    guest.run("echo 3 > /proc/sys/vm/drop_caches")
    wrong = guest.run("{ md5sum -c /run/first; md5sum -c /run/acked; } 2>&1 | grep -v ': OK$' "
                      "|| true", 240)
    if wrong:
        raise LabError(f"files are not what was synced: {wrong}")
    complaints = guest.run("dmesg | grep -iE 'I/O error|abort|remount|EXT4-fs error' || true")
    if complaints:
        raise LabError(f"the kernel complained: {complaints}")


def discard(guest):
    """Freed blocks reach the volume as UNMAP."""
    said = guest.run("rm /mnt/first /run/first && touch /run/first && sync && "
                     "/sbin/fstrim -v /mnt", 120)
    print("fstrim:", said)


def log_in_again(guest, node, disk):
    guest.run(f"umount /mnt && {node} --logout", 120)
    guest.run(f"{node} --login", 120)
    guest.run(f"until [ -b {disk} ]; do sleep 0.1; done; /sbin/e2fsck -fn {disk} && "
              f"mount -t ext4 {disk} /mnt", 120)


def customer(lab, guest):
    with tempfile.NamedTemporaryFile("w", suffix=".secret") as secret:
        secret.write(SECRET + "\n")
        secret.flush()
        volume = create(lab, "server", "64MiB", "--chap-user", "alice", "--chap-secret-file",
                        secret.name)
    node, disk = log_in(guest, volume)
    make_file_system(guest, disk)
    grow(lab, guest, volume, disk)
    for victim in STALL_LIMIT_S:
        kill_under_writer(lab, guest, victim)
    verify(guest)
    log_in_again(guest, node, disk)
    verify(guest)
    print(f"logged in anew: e2fsck is content and {acked(guest)} files are what was synced")
    discard(guest)


def main():
    folder = tempfile.mkdtemp(prefix="hf-kernel-", dir="/tmp")  # a socket's path is short
    with holdfast() as lab, Guest(folder) as guest:
        customer(lab, guest)
    shutil.rmtree(folder)


if __name__ == "__main__":
    try:
        main()
    except LabError as e:
        sys.exit(f"FAILED: {e}")
