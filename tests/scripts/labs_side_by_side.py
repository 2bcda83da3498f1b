#!/usr/bin/python3 -B
"""Two labs beside each other and beside a tgtd that was there before.

Promises: neither lab touches the other or the older tgtd; what dies is started again and `status`
names the new process; `down` leaves no process; `up` in the same folder finds volume and data.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import TOP, Lab, lay, leftovers, must, wait_until  # noqa: E402

LAB = os.path.join(TOP, "scripts", "lab")


def lab_command(*argv):
    done = subprocess.run([LAB, *argv], capture_output=True, text=True, check=False, timeout=180,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"lab {argv}: {done.stderr}"
    return json.loads(done.stdout) if done.stdout else None


def holdfast(status, *argv):
    return json.loads(subprocess.run(
        [os.path.join(lay.BIN, "holdfast"), *argv, "--json"], check=True, text=True,
        env={**os.environ, **status["env"]}, stdout=subprocess.PIPE).stdout)


def plugins():
    folder = lay.TGT_PLUGIN_DIR
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def start_older_tgtd(folder):
    port = lay.free_ports(1)[0]
    env = {**os.environ, "TGT_IPC_SOCKET": os.path.join(folder, "older")}
    process = subprocess.Popen([lay.TGTD, "-f", "-C", "9", "--iscsi", f"portal=127.0.0.1:{port}"],
                               env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def show():
        done = subprocess.run(["tgtadm", "-C", "9", "--op", "show", "--mode", "system"], env=env,
                              capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None
    return process, wait_until("the older tgtd", show, 10), show


def check_restarts(folder):
    for name, pid in lab_command("status", "--dir", folder)["pids"].items():
        os.kill(pid, signal.SIGKILL)
        wait_until(f"a new {name}", lambda n=name, p=pid: lab_command(
            "status", "--dir", folder)["pids"].get(n, p) != p, 15)
    lab_command("up", "--dir", folder)


def main():
    root = lay.scratch_folder("labs-")
    folders = [os.path.join(root, name) for name in ("one", "two")]
    plugins_before = plugins()
    older, system_before, show = start_older_tgtd(root)
    try:
        states = [lab_command("up", "--dir", f) for f in folders]
        assert states[0]["portal"] != states[1]["portal"]
        volumes = [holdfast(s, "volume", "create", "--gateway", "lab", "--name", "v", "--size",
                            "64MiB", "--wait") for s in states]
        for value, volume in enumerate(volumes, 1):
            must(volume, f"write -P {value} 1M 2M", "flush")
        for value, volume in enumerate(volumes, 1):
            must(volume, f"read -P {value} 1M 2M", "flush")
        check_restarts(folders[0])
        must(volumes[0], "read -P 1 1M 2M", "flush")
        lab_command("up", "--dir", folders[0])  # changes nothing
        pids = lab_command("status", "--dir", folders[0])["pids"]
        assert lab_command("up", "--dir", folders[0])["pids"] == pids
        lab_command("down", "--dir", folders[0])
        assert not leftovers(Lab(folders[0])), leftovers(Lab(folders[0]))
        must(volumes[1], "read -P 2 1M 2M", "flush")  # the other one did not notice
        lab_command("up", "--dir", folders[0])
        again = holdfast(lab_command("status", "--dir", folders[0]), "volume", "show",
                         volumes[0]["volume_id"])
        assert again["status"] == "available", again
        must(volumes[0], "read -P 1 1M 2M", "flush")
        assert older.poll() is None and show() == system_before, "the older tgtd was touched"
        assert plugins() == plugins_before
    finally:
        for folder in folders:
            subprocess.run([LAB, "down", "--dir", folder], check=False)
        older.kill()
        older.wait()
    shutil.rmtree(root)
    print("two labs and an older tgtd side by side: nothing touched, everything restarted, "
          "data found again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
