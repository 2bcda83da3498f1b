#!/usr/bin/python3 -B
"""One initiator that stops reading does not freeze the others (DESIGN, section 2: the shim's
watchdog). Real tgtd and volumed; the stalled initiator is a socket with the segment size of an
Ethernet that asks for megabytes and takes none. Without the watchdog tgtd serves nobody: the test
looks at that too, so that it notices when the watchdog has nothing to cure any more."""

import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from initiator import at, qemu_io, qemu_io_argv  # noqa: E402
from story import check, story, wait_until  # noqa: E402
from tgtd import IQN, Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

VOLUME = "vol-00000000000000e1"
ETHERNET_MSS = 1448


def receive(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        check(part, "tgtd closed the connection")
        data += part
    return data


def receive_pdu(sock):
    header = receive(sock, 48)
    length = int.from_bytes(header[5:8], "big")
    return header, receive(sock, (length + 3) // 4 * 4)


class Raw:
    """An initiator of few words (RFC 7143): one login, reads, and silence."""

    def __init__(self, port):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_MSS)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", port))
        self.number = 1
        keys = {"InitiatorName": f"{IQN}stalled", "TargetName": f"{IQN}1",
                "SessionType": "Normal", "HeaderDigest": "None", "DataDigest": "None",
                "MaxRecvDataSegmentLength": "262144"}
        text = b"".join(f"{key}={value}\0".encode() for key, value in keys.items())
        isid = b"\x80\0\0\0\0\x77"
        self.sock.sendall(struct.pack(">BBBBI6sHIHHII16x", 0x43, 0x87, 0, 0, len(text), isid, 0, 1,
                                      0, 0, 1, 0) + text + bytes(-len(text) % 4))
        header, _ = receive_pdu(self.sock)
        check(header[0] == 0x23 and header[36:38] == b"\0\0" and header[1] & 0x83 == 0x83,
              f"the login: {header.hex()}")
        self.command(bytes(16), 0)  # takes the unit attention of a new session
        receive_pdu(self.sock)

    def command(self, cdb, length):
        lun = b"\0\1" + bytes(6)
        self.sock.sendall(struct.pack(">BBHI8sIIII", 0x01, 0xc1 if length else 0x81, 0, 0, lun,
                                      self.number + 1, length, self.number, 0) + cdb)
        self.number += 1

    def read(self, lba, blocks):
        self.command(struct.pack(">BBQIBB", 0x88, 0, lba, blocks, 0, 0), blocks * 512)

    def was_cut(self):
        """Reads what is left; True if tgtd's end is gone."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except socket.timeout:
            return False
        except ConnectionError:
            pass
        return True


def other_session(url):
    return subprocess.Popen(qemu_io_argv(at(url), ["write -P 7 60M 64k", "read -P 7 60M 64k"]),
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            stdin=subprocess.DEVNULL)


def serve(folder, **env):
    volumed = Volumed(folder)
    tgt = Tgtd(folder, f"{volumed.run}/ring.sock", **env)
    volumed.begin(VOLUME, 64)
    tgt.serve(VOLUME, 64)
    qemu_io(tgt.url(), "write -P 1 0 32M")
    return volumed, tgt


def stall(tgt):
    raw = Raw(tgt.port)
    for i in range(16):
        raw.read(i * 2048, 2048)
    return raw


def the_others_go_on(folder):
    volumed, tgt = serve(folder, HOLDFAST_WATCHDOG_MS="1000")
    try:
        began = time.monotonic()
        raw = stall(tgt)
        other = other_session(tgt.url())
        check(other.wait(timeout=15) == 0, "another session is served")
        print(f"  another session served after {time.monotonic() - began:.1f} s")
        wait_until("the log", lambda: "its connection is cut: 127.0.0.1" in tgt.log_text())
        check(raw.was_cut(), "the stalled connection is cut")
        check("listen" not in tgt.log_text(), "nothing else is")
        qemu_io(tgt.url(), "read -P 1 0 1M")
        tgt.admin("show", "target")
        again = Raw(tgt.port)  # and it may come back
        again.read(0, 2048)
        receive_pdu(again.sock)
    finally:
        tgt.end()
        volumed.end()


def without_it_nobody_is_served(folder):
    volumed, tgt = serve(folder, HOLDFAST_WATCHDOG_MS="0")
    try:
        raw = stall(tgt)
        other = other_session(tgt.url())
        try:
            other.wait(timeout=5)
            check(False, "tgtd does not freeze any more: the watchdog can go")
        except subprocess.TimeoutExpired:
            pass
        raw.sock.close()
        check(other.wait(timeout=20) == 0, "served when the stalled initiator has gone")
    finally:
        tgt.end()
        volumed.end()


story((the_others_go_on, without_it_nobody_is_served))
