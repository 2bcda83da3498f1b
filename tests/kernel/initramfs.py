"""The initramfs of the guest: busybox, open-iscsi and file system tools of the distribution, and what
its init does: network, initiator daemon, then one command after the other from its serial line."""

import os
import re
import shutil
import stat
import subprocess
import tempfile

from story import BUILD, Failure

MODULES = "/usr/lib/uml/modules"
WANTED_MODULES = ("crc32c_generic", "iscsi_tcp", "sd_mod", "ext4")
TOOLS = ("/sbin/mke2fs", "/sbin/resize2fs", "/sbin/e2fsck", "/sbin/blockdev", "/sbin/fstrim")
# Extracted, not installed: their installation scripts would start services on the host.
PACKAGES = ("open-iscsi", "libopeniscsiusr", "libisns0", "libkmod2")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/sbin:/bin HOME=/
mkdir -p /proc /sys /dev /run /tmp /mnt
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run; mkdir -p /run/lock/iscsi
dmesg -n 4
for m in $(cat /modules/order); do insmod /modules/$m || echo "no module $m"; done
ip link set lo up
ip link set vec0 mtu 9000 up && ip addr add 10.0.2.15/24 dev vec0 && ip route add default via 10.0.2.2
echo "4096 8388608 8388608" > /proc/sys/net/ipv4/tcp_rmem
echo 8388608 > /proc/sys/net/core/rmem_max
iscsid
stty -F /dev/ttyS0 raw -echo
exec </dev/ttyS0 >/dev/ttyS0 2>&1
echo "@@ready"
while read -r line; do
	( eval "$line" ) </dev/null 2>&1
	printf '\\n@@%d\\n' $?
done
poweroff -f
"""
ISCSID_CONF = """iscsid.startup = /sbin/iscsid
node.startup = manual
node.session.timeo.replacement_timeout = 120
node.conn[0].timeo.login_timeout = 15
node.conn[0].timeo.noop_out_interval = 5
node.conn[0].timeo.noop_out_timeout = 5
node.session.initial_login_retry_max = 8
node.conn[0].tcp.window_size = 8388608
node.session.cmds_max = 128
node.session.queue_depth = 32
"""
INITIATOR = "iqn.2026-11.net.holdfast:kernel"


def cpio_entry(number, name, mode, data=b"", device=(0, 0)):
    """One file of a cpio archive of the "new ASCII" format."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


class Archive:
    """An initramfs under construction."""

    def __init__(self):
        self.entries, self.names = [], set()

    def add(self, name, mode, data=b"", device=(0, 0)):
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        self.entries.append(cpio_entry(len(self.entries) + 1, name, mode, data, device))

    def file(self, path, name=None, mode=0o755):
        with open(path, "rb") as f:
            self.add(name or path, stat.S_IFREG | mode, f.read())

    def text(self, name, text, mode=0o644):
        self.add(name, stat.S_IFREG | mode, text.encode())

    def program(self, path, name=None, libraries=""):
        """A program with the libraries it is linked to."""
        self.file(path, name)
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True,
                              env={**os.environ, "LD_LIBRARY_PATH": libraries}).stdout
        if "not found" in said:
            raise Failure(f"{path} lacks libraries: {said}")
        for target in re.findall(r"(?:=> |^\s+)(/\S+) \(", said, re.MULTILINE):
            standard = "/lib64/" if "ld-linux" in target else "/lib/x86_64-linux-gnu/"
            self.file(target, standard + os.path.basename(target))

    def write(self, path):
        with open(path, "wb") as f:
            f.write(b"".join(self.entries) + cpio_entry(0, "TRAILER!!!", 0))


def extracted_packages():
    """The folder with the initiator's files, fetched once a build."""
    folder = os.path.join(BUILD, "kernel-initiator")
    if not os.path.exists(os.path.join(folder, "sbin", "iscsid")):
        with tempfile.TemporaryDirectory(dir=BUILD) as fetched:
            os.chmod(fetched, 0o755)
            subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download",
                            *PACKAGES], cwd=fetched, check=True, stdout=subprocess.DEVNULL)
            root = os.path.join(fetched, "root")
            for name in os.listdir(fetched):
                subprocess.run(["dpkg", "-x", os.path.join(fetched, name), root], check=True)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(root, folder)
    return folder


def module_order(version):
    """Paths of the wanted modules that are not built in, each after what it needs."""
    order = []
    with open(os.path.join(MODULES, version, "modules.dep"), encoding="utf-8") as f:
        needs = dict(line.strip().split(":", 1) for line in f)
    for wanted in WANTED_MODULES:
        for path, others in needs.items():
            if os.path.basename(path) == wanted + ".ko":
                order += [p for p in reversed(others.split()) if p not in order]
                order += [path] if path not in order else []
    return order


def build_initramfs(path):
    packages = extracted_packages()
    libraries = ":".join(os.path.join(packages, *p) for p in
                         (("usr", "lib", "x86_64-linux-gnu"), ("lib", "x86_64-linux-gnu")))
    archive = Archive()
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.file("/bin/busybox", "bin/busybox")
    for tool in TOOLS:
        archive.program(tool)
    for name in ("iscsid", "iscsiadm"):
        archive.program(os.path.join(packages, "sbin", name), "sbin/" + name, libraries)
    version, = os.listdir(MODULES)
    order = module_order(version)
    for module in order:
        archive.file(os.path.join(MODULES, version, module), "modules/" + os.path.basename(module))
    archive.text("modules/order", "\n".join(os.path.basename(m) for m in order))
    archive.text("etc/iscsi/iscsid.conf", ISCSID_CONF)
    archive.text("etc/iscsi/initiatorname.iscsi", f"InitiatorName={INITIATOR}\n")
    archive.file("/etc/mke2fs.conf", mode=0o644)
    archive.text("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
    archive.text("init", INIT, 0o755)
    archive.write(path)
