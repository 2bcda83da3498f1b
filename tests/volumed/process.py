#!/usr/bin/python3 -B
"""holdfast-volumed as a process, asked on its control socket, with a directory as its store.

Promises: it serves again after its own restart without being asked (also after kill -9), within two
seconds; one damaged file holds back nobody; what it is asked wrongly it refuses by name (invariant
9); a second one on the same state is refused; a stop is clean, also with the store away.
"""

import contextlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import check, story, wait_until, write_config  # noqa: E402
from volumed import KEY, TENANT, Volumed  # noqa: E402

ONE = "vol-0000000000000001"
TWO = "vol-0000000000000002"


@contextlib.contextmanager
def volumed(folder, **config):
    one = Volumed(folder, **config)
    try:
        yield one
    finally:
        one.end()


def restarts_serve_again(folder):
    with volumed(folder) as v:
        v.start()
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        v.attach(TWO, "32MiB", 1, "create", "write-cache")
        key = open(os.path.join(v.state, "keys", ONE + ".key"), encoding="utf-8").read()
        check(key == f"holdfast-key-1 {ONE} {KEY}\n", f"the key file holds {key}")
        stopped = v.stop()
        check(stopped < 2, f"the stop took {stopped:.1f} s")
        for end in (v.kill, v.kill, v.stop):
            took = v.start()
            check(took < 2, f"the restart took {took:.1f} s")
            states = {x["volume"]: x["state"] for x in v.status()["volumes"]}
            check(set(states) == {ONE, TWO}, f"volumes after a restart: {states}")
            wait_until("both volumes to be attached", lambda: all(
                v.volume(x)["state"] == "attached" for x in (ONE, TWO)))
            end()


def a_volumes_life(folder):
    with volumed(folder) as v:
        v.start()
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        check(v.volume(ONE)["size_bytes"] == 64 << 20, "size")
        v.attach(ONE)
        v.attach(ONE, "128MiB", 2)
        check(v.volume(ONE)["size_bytes"] == 128 << 20, "it grew")
        shrunk = v.ask("attach", ONE, TENANT, "64MiB", 2, KEY, allow=True)
        check(shrunk["error"] != "OK", "a volume must not shrink")
        v.ask("detach", ONE)
        v.ask("detach", ONE)
        check(v.volume(ONE)["state"] == "detached", "detached is shown")
        v.kill()
        v.start()
        check(v.volume(ONE)["state"] == "detached", "detached is remembered")
        v.attach(ONE, "128MiB", 3)
        check(v.volume(ONE)["state"] in ("opening", "attached"), "it comes back")
        check(v.objects(), "the store holds its claims")
        v.ask("remove", ONE)
        check(v.volume(ONE) is None, "it is gone")
        check(not v.objects(), f"its objects are gone: {v.objects()}")
        check(not os.path.exists(os.path.join(v.state, "keys", ONE + ".key")), "its key is gone")
        check(v.ask("remove", ONE, allow=True)["error"] == "ENOENT", "unknown now")
        v.ask("remove", ONE, TENANT, KEY)
        v.stop()


def bad_questions_are_refused(folder):
    with volumed(folder) as v:
        v.start()
        for question, error, text in (
                (("attach", ONE, "0", "64MiB", 1, KEY), "EINVAL", "tenant"),
                (("attach", "0", TENANT, "64MiB", 1, KEY), "EINVAL", "volume"),
                (("attach", ONE, TENANT, "1000", 1, KEY), "EINVAL", "size_bytes"),
                (("attach", ONE, TENANT, "64MiB", 0, KEY), "EINVAL", "attach_epoch"),
                (("attach", ONE, TENANT, "64MiB", 1, "00" * 32), "EINVAL", "wrap_key"),
                (("store", ""), "EINVAL", "url"),
                (("store", "ftp://x"), "EINVAL", ""),
                (("store", "dir:relative"), "EINVAL", ""),
                (("store", "dir:/nonexistent/folder"), "ENOENT", "/nonexistent"),
                (("raw", "ffffffff"), "EPROTO", ""),
                (("raw", "fa3f00"), "EUNSUPPORTED", ""),
                (("remove", ONE), "ENOENT", "")):
            answer = v.ask(*question, allow=True)
            check(answer["error"] == error and text in answer["reason"], f"{question}: {answer}")
        check(v.status()["volumes"] == [], "nothing was taken from them")
        v.stop()
        check(KEY not in v.log_text() and "5a5a5a5a" not in v.log_text(), "no key in the journal")


def bad_configurations_are_refused(folder):
    good = {"run_dir": folder + "/run", "state_dir": folder + "/state"}
    for change, text in (
            ({"run_dir": "relative"}, "absolute"),
            ({"run_dir": "/" + "x" * 120}, "too long"),
            ({"log_size": "128MiB", "segment_size": "32MiB"}, "segments"),
            ({"segment_size": "48MiB"}, "power of two"),
            ({"segment_size": "16MiB"}, "segment_size"),
            ({"segment_size": "128MiB"}, "segment_size"),
            ({"uploads": "0"}, "uploads"),
            ({"log_size": "many"}, "log_size"),
            ({"colour": "green"}, "colour"),
            ({"state_dir": "/proc/nowhere"}, "/proc/nowhere"),
            ({"log_file": "/dev/null", "log_size": "256MiB", "segment_size": "32MiB"}, "/dev/null")):
        path = os.path.join(folder, "bad.conf")
        write_config(path, {**good, **change})
        done = subprocess.run([Volumed.program, "--config", path], capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        check(done.returncode > 0 and text in done.stderr, f"{change}: {done}")
        if "/" not in text:
            done = subprocess.run([Volumed.program, "--config", path, "--check-config"], timeout=30,
                                  capture_output=True, check=False, stdin=subprocess.DEVNULL)
            check(done.returncode == 2, f"--check-config, {change}: {done}")
    for arguments in ((), ("--config",), ("--config", folder + "/none"), ("--what",)):
        done = subprocess.run([Volumed.program, *arguments], capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        check(done.returncode > 0 and done.stderr, f"{arguments}: {done}")


def one_process_a_state(folder):
    with volumed(folder) as v:
        v.start()
        done = subprocess.run([v.program, "--config", v.config], capture_output=True, text=True,
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        check(done.returncode == 6 and "another holdfast-volumed" in done.stderr, f"{done}")
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        v.stop()


def damage_holds_back_nobody(folder):
    with volumed(folder) as v:
        v.start()
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        v.attach(TWO, "64MiB", 1, "create")
        v.kill()
        path = os.path.join(v.state, "volumes", ONE)
        with open(path, "r+b") as f:
            f.seek(30)
            byte = f.read(1)
            f.seek(30)
            f.write(bytes([byte[0] ^ 1]))
        v.start()
        one, status = v.volume(ONE), v.status()
        check(one["state"] == "failed" and ONE in one["reason"], f"{one}")
        check(any(ONE in alarm for alarm in status["alarms"]), f"{status['alarms']}")
        wait_until("the other one", lambda: v.volume(TWO)["state"] == "attached")
        v.attach(ONE)
        wait_until("the damaged one", lambda: v.volume(ONE)["state"] == "attached")
        v.stop()
        v.start()
        wait_until("it to be whole again", lambda: v.volume(ONE)["state"] == "attached")
        v.stop()


def restart_question(boot):
    return f"a201{len(boot) // 2 + 2:02x}0a{len(boot) // 2:02x}{boot}"


def a_run_is_ended_once(folder):
    """Invariant 4: a question names the run that is to end, so asking twice ends one run."""
    with volumed(folder) as v:
        v.start()
        before = v.status()["boot"]
        for wrong in ("00" * 16, before[2:] + before[:2]):
            check("older than" in str(v.ask("raw", restart_question(wrong), allow=True))
                  or "has ended" in str(v.ask("raw", restart_question(wrong), allow=True)),
                  "another run was asked for")
        v.ask("raw", restart_question(before[:-2]), allow=True)
        check(v.status()["boot"] == before, "it runs on")
        v.ask("raw", restart_question(before))
        check(v.process.wait(timeout=30) == 0, "it ends as after SIGTERM")
        v.process = None
        v.start()
        after = v.status()["boot"]
        answer = v.ask("raw", restart_question(before), allow=True)
        check("has ended" in str(answer), f"{answer}")
        check(v.status()["boot"] == after != before, "another run was ended")
        v.stop()


def the_store_may_be_away(folder):
    with volumed(folder) as v:
        v.start()
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        v.kill()
        os.rename(v.store, v.store + "-away")
        took = v.start()
        check(took < 2, f"the restart took {took:.1f} s with the store away")
        check(v.volume(ONE)["state"] in ("opening", "attached"), f"{v.volume(ONE)}")
        check(not v.status()["store_reachable"], "a store that is away must be told")
        v.use_store()
        took = v.stop()
        check(took < 2, f"the stop took {took:.1f} s with the store away")
        v.start()
        os.rename(v.store + "-away", v.store)
        wait_until("the store to be found", lambda: v.volume(ONE)["state"] == "attached")
        v.stop()


def a_lost_log_is_told(folder):
    with volumed(folder) as v:
        v.start()
        check(not v.status()["alarms"], "a first start loses nothing")
        v.use_store()
        v.attach(ONE, "64MiB", 1, "create")
        v.attach(TWO, "64MiB", 1, "create")
        v.ask("detach", TWO)
        v.kill()
        os.remove(os.path.join(v.state, "log"))
        v.start()
        alarms = v.status()["alarms"]
        check(len(alarms) == 1 and ONE in alarms[0] and "lost" in alarms[0], f"{alarms}")
        check("write log is missing" in v.log_text(), "the journal says so too")
        wait_until("the volume from the store", lambda: v.volume(ONE)["state"] == "attached")
        v.stop()
        v.start()
        check(not v.status()["alarms"], "it is told once")
        v.stop()


story((restarts_serve_again, a_volumes_life, bad_questions_are_refused,
       bad_configurations_are_refused, one_process_a_state, damage_holds_back_nobody,
       the_store_may_be_away, a_lost_log_is_told, a_run_is_ended_once))
