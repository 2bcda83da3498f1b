#!/usr/bin/python3 -B
"""Persistent reservations on real tgtd and volumed (SPC-4 5.9): what each type keeps out, what the
others are told, and that registrations and reservations outlive tgtd and volumed: they are durable
before PERSISTENT RESERVE OUT ends, and known before the LUN takes its first command."""

import os
import select
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import BUILD, check, story, wait_until  # noqa: E402
from tgtd import IQN, Tgtd  # noqa: E402
from volumed import Volumed  # noqa: E402

SHELL = os.path.join(BUILD, "tests", "scsi_shell")
VOLUME, OTHER = "vol-00000000000000f1", "vol-00000000000000f2"
MIB = 1 << 20
GOOD, CHECK, CONFLICT = 0, 2, 0x18
A, B, C = 0xAAAA, 0xBBBB, 0xCCCC  # keys
WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS = 1, 3
TYPES = (1, 3, 5, 6, 7, 8)
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, ABORT, IGNORE, MOVE = range(8)
PREEMPTED, RELEASED, UNREGISTERED = 0x2a03, 0x2a04, 0x2a05
READ = "88" + "00" * 12 + "01" + "0000"
WRITE = "8a" + "00" * 12 + "01" + "0000"


class Session:
    open = []

    def __init__(self, url, name, isid=1):
        self.name = f"{IQN}{name}"
        self.isid = isid
        self.process = subprocess.Popen([SHELL, url, self.name, str(isid)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Session.open.append(self)
        check(self.process.stdout.readline() == "ready\n", f"{name} logs in")

    def send(self, cdb, out="", in_bytes=0):
        self.process.stdin.write(f"{cdb} {out or '-'} {in_bytes}\n")
        self.process.stdin.flush()

    def answer(self):
        """(status, sense key, additional sense, data)"""
        words = self.process.stdout.readline().split()
        check(len(words) == 4, f"{self.name}: no answer")
        data = b"" if words[3] == "-" else bytes.fromhex(words[3])
        return int(words[0], 16), int(words[1], 16), int(words[2], 16), data

    def ask(self, cdb, out="", in_bytes=0):
        self.send(cdb, out, in_bytes)
        return self.answer()

    def read(self):
        return self.ask(READ, in_bytes=512)[0]

    def write(self):
        return self.ask(WRITE, "5a" * 512)[0]

    def send_out(self, action, key, action_key=0, kind=0, flags=0):
        self.send(f"5f{action:02x}{kind:02x}0000000000" + "1800",
                  struct.pack(">QQIBBH", key, action_key, 0, flags, 0, 0).hex())

    def out(self, *arguments, **options):
        self.send_out(*arguments, **options)
        return self.answer()[:3]

    def does(self, *arguments, **options):
        said = self.out(*arguments, **options)
        check(said[0] == GOOD, f"{self.name}: {arguments}: {said}")

    def conflicts(self, *arguments):
        said = self.out(*arguments)
        check(said[0] == CONFLICT, f"{self.name}: {arguments}: {said}")

    def inquire(self, action):
        status, _, _, data = self.ask(f"5e{action:02x}0000000000200000", in_bytes=8192)
        check(status == GOOD, f"PERSISTENT RESERVE IN {action}")
        return data

    def keys(self):
        data = self.inquire(0)
        return [key for key, in struct.iter_unpack(">Q", data[8:])]

    def reservation(self):
        """(key, type), or None"""
        data = self.inquire(1)
        return (struct.unpack(">Q", data[8:16])[0], data[21]) if len(data) > 8 else None

    def attention(self):
        """The next unit attention, or 0."""
        said = self.ask("00" * 6)
        return said[2] if said[1] == 6 else 0

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)

    def lost(self):
        self.process.kill()
        self.process.wait()


class Parts:
    def __init__(self, folder, **config):
        self.volumed = Volumed(folder, **config)
        self.tgt = Tgtd(folder, f"{self.volumed.run}/ring.sock")

    def __enter__(self):
        self.volumed.begin(VOLUME, 64)
        self.provision()
        return self

    def provision(self):
        self.tgt.serve(VOLUME, 64)

    def login(self, *names):
        return [Session(self.tgt.url(), name) for name in names]

    def __exit__(self, *_):
        while Session.open:
            Session.open.pop().lost()
        self.tgt.end()
        self.volumed.end()


def each_type_keeps_out_what_it_says(folder):
    with Parts(folder) as parts:
        holder, registrant, stranger = parts.login("a", "b", "c")
        holder.does(REGISTER, 0, A)
        registrant.does(REGISTER, 0, B)
        for kind in TYPES:
            holder.does(RESERVE, A, 0, kind)
            shared, excludes_reads = kind >= 5, kind in (3, 6, 8)
            check((holder.read(), holder.write()) == (GOOD, GOOD), f"{kind}: the holder")
            check(registrant.write() == (GOOD if shared else CONFLICT), f"{kind}: a registrant")
            check(registrant.read() == (CONFLICT if excludes_reads and not shared else GOOD),
                  f"{kind}: a registrant reads")
            check(stranger.write() == CONFLICT, f"{kind}: a stranger writes")
            check(stranger.read() == (CONFLICT if excludes_reads else GOOD),
                  f"{kind}: a stranger reads")
            for cdb, out in (("42" + "00" * 7 + "1800", "0016001000000000" + "00" * 16),
                             ("93" + "00" * 12 + "010000", "00" * 512),
                             ("35" + "00" * 9, ""), ("1a0008002400", ""), ("1b0000000000", ""),
                             ("041800000000", ""), ("1d0400000000", "")):
                status = stranger.ask(cdb, out, 0 if out else 36)[0]
                check(status == CONFLICT, f"{kind}: a stranger's {cdb[:2]}: {status}")
            for cdb in ("120000002400", "25" + "00" * 9, "00" * 6, "1b0000000100",
                        "1e0000000000", "a0" + "00" * 8 + "400000", "9e10" + "00" * 11 + "200000"):
                check(stranger.ask(cdb, in_bytes=0 if cdb[:2] in ("00", "1b", "1e") else 64)[0] ==
                      GOOD, f"{kind}: a stranger's {cdb[:2]}")
            stranger.conflicts(RESERVE, C, 0, kind)
            check(holder.reservation() == (0 if kind >= 7 else A, kind), f"{kind} is told")
            if kind < 7:
                registrant.conflicts(RESERVE, B, 0, kind)
                registrant.does(RELEASE, B, 0, kind)  # not its: nothing happens
            said = holder.out(RELEASE, A, 0, 9 - kind if kind in (1, 3) else 1)
            check(said == (CHECK, 5, 0x2604), f"another type is released: {said}")
            holder.does(RELEASE, A, 0, kind)
            check(registrant.attention() == (RELEASED if shared else 0), f"{kind}: released")
            check(stranger.write() == GOOD, f"{kind}: released")


def the_others_are_told(folder):
    with Parts(folder) as parts:
        a, b, c = parts.login("a", "b", "c")
        for session, key in ((a, A), (b, B), (c, C)):
            session.does(REGISTER, 0, key)
        check(a.keys() == [A, B, C], f"{a.keys()}")
        generation = a.inquire(0)[:4]
        a.does(RESERVE, A, 0, 5)
        a.does(REGISTER, A, 0)  # the holder of a shared one goes: it is released
        check((b.attention(), c.attention(), a.attention()) == (RELEASED, RELEASED, 0), "released")
        check(a.reservation() is None and a.keys() == [B, C], "gone with its holder")
        check(a.inquire(0)[:4] > generation, "the generation counts")
        a.conflicts(RESERVE, A, 0, 1)
        a.conflicts(REGISTER, A, 0x1234)
        a.does(IGNORE, 0x9999, A)
        b.does(RESERVE, B, 0, 7)
        b.does(REGISTER, B, 0)
        check(a.reservation() == (0, 7), "all registrants hold it until the last one goes")
        b.does(REGISTER, 0, B)
        # PREEMPT: of a key, and of the reservation.
        a.does(RELEASE, A, 0, 7)
        check((b.attention(), c.attention()) == (RELEASED, RELEASED), "released")
        a.does(RESERVE, A, 0, WRITE_EXCLUSIVE)
        c.does(PREEMPT, C, B, WRITE_EXCLUSIVE)
        check((a.attention(), b.attention()) == (0, UNREGISTERED), "only b is told")
        check(a.keys() == [C, A] or sorted(a.keys()) == [A, C], f"{a.keys()}")
        c.conflicts(PREEMPT, C, 0x1111, 1)
        check(c.out(PREEMPT, C, 0, 1) == (CHECK, 5, 0x2600), "nobody has key 0")
        b.does(REGISTER, 0, B)
        c.does(ABORT, C, A, EXCLUSIVE_ACCESS)
        check((a.attention(), b.attention()) == (UNREGISTERED, RELEASED), "preempted, changed")
        check(c.reservation() == (C, EXCLUSIVE_ACCESS) and a.write() == CONFLICT, "c has it")
        c.does(CLEAR, C)
        check((a.attention(), b.attention()) == (0, PREEMPTED), "cleared")
        check(c.keys() == [] and c.reservation() is None and a.write() == GOOD, "nobody is left")


def it_moves(folder):
    with Parts(folder) as parts:
        a, b = parts.login("a", "b")
        a.does(REGISTER, 0, A)
        b.does(REGISTER, 0, B)
        status = a.inquire(3)
        ports, at = [], 8
        while at < len(status):
            length = struct.unpack(">I", status[at + 20:at + 24])[0]
            ports.append(status[at + 24:at + 24 + length])
            at += 24 + length
        check(len(ports) == 2 and ports[1][4:].startswith(b.name.encode() + b",i,0x4000"),
              f"{ports}")
        a.does(RESERVE, A, 0, EXCLUSIVE_ACCESS)
        length = 24 + len(ports[1])
        status = a.ask(f"5f070000000000{length:04x}00", struct.pack(
            ">QQBBHI", A, 0xD, 0, 2, 1, len(ports[1])).hex() + ports[1].hex())
        check(status[0] == GOOD, f"moved: {status}")
        check(b.reservation() == (0xD, EXCLUSIVE_ACCESS) and b.keys() == [0xD], "to b")
        check((a.read(), b.read()) == (CONFLICT, GOOD), "and counts there")


def it_outlives_tgtd_and_volumed(folder):
    with Parts(folder) as parts:
        for kill_volumed in (False, True):
            a, b, c = parts.login("a", "b", "c")
            a.does(IGNORE, 0, A)
            b.does(IGNORE, 0, B)
            a.does(RESERVE, A, 0, WRITE_EXCLUSIVE)
            generation = a.inquire(0)[:4]
            parts.tgt.end()
            if kill_volumed:
                parts.volumed.kill()
            for session in (a, b, c):
                session.lost()
            parts.provision()
            late = None
            if kill_volumed:  # nothing is let through before it is known who may
                late = Session(parts.tgt.url(), "c")
                late.send(WRITE, "5a" * 512)
                parts.volumed.start()
                check(late.answer()[0] == CONFLICT, "a write that came before volumed")
            a, b, c = parts.login("a", "b", "c")
            check((a.write(), b.write(), c.write(), b.read()) ==
                  (GOOD, CONFLICT, CONFLICT, GOOD), "still reserved")
            check(a.reservation() == (A, WRITE_EXCLUSIVE) and a.keys() == [A, B], "still there")
            check(a.inquire(0)[:4] == generation, "the same generation")
            again = Session(parts.tgt.url(), "a", 2)
            check(again.write() == CONFLICT, "another ISID is another nexus")
            b.does(PREEMPT, B, A, WRITE_EXCLUSIVE)
            check(a.attention() == UNREGISTERED and a.write() == CONFLICT, "fenced")
            b.does(CLEAR, B)
            for session in (a, b, c, again) + ((late,) if late else ()):
                session.end()


def it_waits_for_volumed(folder):
    """PERSISTENT RESERVE OUT ends when it is durable, in order, also over volumed's death."""
    with Parts(folder) as parts:
        a, b = parts.login("a", "b")
        a.does(REGISTER, 0, A)
        parts.volumed.kill()
        a.send_out(RESERVE, A, 0, WRITE_EXCLUSIVE)
        b.send_out(REGISTER, 0, B)
        parts.volumed.start()
        check((a.answer()[0], b.answer()[0]) == (GOOD, GOOD), "both end")
        parts.volumed.kill()
        parts.volumed.start()
        parts.tgt.end()
        parts.provision()
        a, b = parts.login("a", "b")
        check(a.keys() == [A, B] and a.reservation() == (A, WRITE_EXCLUSIVE), "both are kept")
        check(b.write() == CONFLICT, "and count")


def who_is_preempted_and_aborted_does_nothing_afterwards(folder):
    """A read that waits for a store that is away stands for any command under way."""
    with Parts(folder, read_deadline_ms=5000) as parts:
        volumed = parts.volumed
        a, b, c = parts.login("a", "b", "c")
        check(a.write() == GOOD, "something to read")
        wait_until("the upload", lambda: volumed.drained(VOLUME))
        volumed.kill()
        for name in ("log", "cache"):
            path = os.path.join(volumed.state, name)
            if os.path.exists(path):
                os.unlink(path)
        volumed.start()
        wait_until("the volume", lambda: volumed.volume(VOLUME)["state"] == "attached")
        for session, key in ((a, A), (b, B), (c, C)):
            session.does(REGISTER, 0, key)
        a.does(RESERVE, A, 0, WRITE_EXCLUSIVE)
        os.rename(volumed.store, volumed.store + "-away")

        def under_way():
            return volumed.status()["requests_under_way"]

        b.send(READ, in_bytes=512)
        c.send(READ, in_bytes=512)
        wait_until("both reads", lambda: under_way() == 2)
        a.does(PREEMPT, A, B)
        check(under_way() == 2, "PREEMPT does not wait")
        c.lost()  # its connection breaks: tgt does not take its commands back
        a.send_out(ABORT, A, C)
        while True:
            has_ended = select.select([a.process.stdout], [], [], 0.05)[0]
            if under_way() == 0:
                break
            check(not has_ended, "PREEMPT AND ABORT ends before a command it aborts")
        check(a.answer()[0] == GOOD, "it ends")
        check(b.answer()[1] == 2, "the read ended as not ready")
        check(a.keys() == [A], f"{a.keys()}")


def it_goes_with_the_volume(folder):
    with Parts(folder) as parts:
        a, b = parts.login("a", "b")
        a.does(REGISTER, 0, A)
        a.does(RESERVE, A, 0, WRITE_EXCLUSIVE)
        parts.volumed.ask("detach", VOLUME)
        parts.volumed.attach(VOLUME, "64MiB", 2)
        wait_until("readiness", lambda: parts.volumed.volume(VOLUME)["state"] == "attached")
        wait_until("no reservation", lambda: b.write() == GOOD)
        check(a.keys() == [], "nobody is registered")
        check(not os.listdir(os.path.join(parts.volumed.state, "kept")), "nothing is left")


def what_is_damaged_is_not_taken_for_nothing(folder):
    with Parts(folder) as parts:
        parts.volumed.attach(OTHER, "64MiB", 1, "create")
        check(parts.tgt.lun(OTHER, f"size={64 * MIB}", lun=2), "another LUN")
        a, = parts.login("a")
        a.does(REGISTER, 0, A)
        a.does(RESERVE, A, 0, WRITE_EXCLUSIVE)
        a.lost()
        parts.tgt.end()
        parts.volumed.kill()
        with open(os.path.join(parts.volumed.state, "kept", VOLUME), "r+b") as file:
            file.seek(40)
            file.write(b"\xff")
        parts.volumed.start()
        parts.provision()
        check(parts.tgt.lun(OTHER, f"size={64 * MIB}", lun=2), "another LUN")
        b, = parts.login("b")
        check(b.ask(WRITE, "5a" * 512)[0] == CHECK, "refused, not let through")
        check(Session(parts.tgt.url(lun=2), "b", 3).write() == GOOD, "others are served")
        wait_until("an alarm", lambda: "checksum does not fit" in parts.volumed.log_text())


def reserve_6_has_its_own_rules(folder):
    with Parts(folder) as parts:
        a, b = parts.login("a", "b")
        check(a.ask("160000000000")[0] == GOOD, "RESERVE")
        check(b.ask("160000000000")[0] == CONFLICT and b.write() == CONFLICT, "kept out")
        check(b.ask("1a0008002400", in_bytes=36)[0] == CONFLICT, "MODE SENSE too")
        check(b.ask("170000000000")[0] == GOOD and b.write() == CONFLICT, "not its to release")
        b.conflicts(REGISTER, 0, B)
        check(a.ask("170000000000")[0] == GOOD and b.write() == GOOD, "RELEASE")
        b.does(REGISTER, 0, B)
        check(a.ask("160000000000")[0] == CONFLICT, "not beside registrations")


story((each_type_keeps_out_what_it_says, the_others_are_told, it_moves,
       it_outlives_tgtd_and_volumed, it_waits_for_volumed,
       who_is_preempted_and_aborted_does_nothing_afterwards, it_goes_with_the_volume,
       what_is_damaged_is_not_taken_for_nothing, reserve_6_has_its_own_rules))
