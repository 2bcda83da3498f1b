#!/usr/bin/env python3
"""Keys, certificates and identities between real processes: signer, provider, agents; an agent alone
is a gateway without volumes. HF_BUILD names the build folder."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.path.join(os.environ["HF_BUILD"], "bin")
DEADLINE_S = 30


def wait_until(what, condition, deadline_s=DEADLINE_S):
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def daemon(name, folder, config, log):
    path = os.path.join(folder, name + ".conf")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.writelines(f"{key} = {value}\n" for key, value in config.items())
    with open(log, "ab") as out:
        return subprocess.Popen([os.path.join(BIN, name), "--config", path],
                                stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Gateway:
    """An agent with folders of its own."""

    def __init__(self, lab, name):
        self.lab, self.name, self.process = lab, name, None
        self.folder = os.path.join(lab.folder, name)
        self.state = os.path.join(self.folder, "state")
        os.makedirs(os.path.join(self.folder, "run"))
        os.makedirs(self.state, mode=0o700)

    def start(self):
        self.process = daemon("holdfast-agent", self.folder, {
            "run_dir": os.path.join(self.folder, "run"), "state_dir": self.state,
            "activation": f"127.0.0.1:{self.lab.info['activation_port']}",
            "portal": "127.0.0.1:1"}, os.path.join(self.lab.folder, self.name + ".log"))

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(20)

    def console(self, *argv):
        done = subprocess.run([os.path.join(BIN, "holdfast-gateway"), *argv, "--json"],
                              capture_output=True, text=True, timeout=20, check=False,
                              env={**os.environ, "HOLDFAST_GATEWAY_RUN": os.path.join(self.folder, "run")})
        said = json.loads(done.stdout or "{}")
        # volumed is not there; what the agent says is all that is asked for.
        said = said.get("agent", said) or {}
        return {key: value for key, value in said.items() if value is not None}

    def join(self):
        self.start()
        key = wait_until("an activation key", lambda: self.console("activation").get("activation_key"))
        self.lab.ask("gateway", "activate", key, "--name", self.name)
        self.lab.ask("gateway", "confirm", self.name, "--wait")

    def shown(self):
        return self.lab.ask("gateway", "show", self.name)

    def up_to_date(self):
        g = self.shown()
        return g["connected"] and 0 < g["generation"] == g["applied_generation"]

    def copy(self, name):
        other = Gateway(self.lab, name)
        os.rmdir(other.state)
        shutil.copytree(self.state, other.state)
        return other


class Lab:
    def __init__(self, folder):
        self.folder = folder
        self.run = os.path.join(folder, "run")
        os.mkdir(self.run)
        self.info = None

    def start_signer(self):
        self.signer = daemon("holdfast-signer", self.folder, {
            "run_dir": self.run, "state_dir": os.path.join(self.folder, "signer")},
            os.path.join(self.folder, "signer.log"))

    def restart_provider(self):
        self.provider.kill()
        self.provider.wait()
        self.start_provider(self.info["channel_port"], self.info["activation_port"])

    def start(self):
        self.start_signer()
        self.start_provider(0, 0)
        self.info = self.ask("info")

    def start_provider(self, channel_port, activation_port):
        self.provider = daemon("holdfast-provider", self.folder, {
            "run_dir": self.run, "state_dir": os.path.join(self.folder, "provider"),
            "channel_listen": f"127.0.0.1:{channel_port}",
            "activation_listen": f"127.0.0.1:{activation_port}",
            "store_url": f"dir:{self.folder}/store", "report_interval_ms": 200},
            os.path.join(self.folder, "provider.log"))

        def ready():
            done = self.command("info", "--json")
            return done.returncode == 0 and json.loads(done.stdout)["ready"]
        wait_until("the provider", ready)

    def command(self, *argv):
        return subprocess.run([os.path.join(BIN, "holdfast"), *argv], capture_output=True,
                              text=True, timeout=60, check=False,
                              env={**os.environ, "HOLDFAST_PROVIDER_RUN": self.run})

    def ask(self, *argv):
        done = self.command(*argv, "--json")
        assert done.returncode == 0, f"holdfast {' '.join(argv)}: {done.stderr}"
        return json.loads(done.stdout)

    def stop(self):
        for process in (self.provider, self.signer):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def signer_fingerprint(lab):
    return lab.ask("info")["signer_fingerprint"]


def rotate(lab):
    """The provider has the new key, and everything is to be signed with it."""
    fingerprint = lab.ask("signer", "rotate")["signer_fingerprint"]
    wait_until("the provider to see the new key", lambda: signer_fingerprint(lab) == fingerprint)


def story_rotation(lab):
    """Each key is followed by the next: by a gateway that is connected, by one that was away through
    three of them, and by one that is killed again and again meanwhile. What is signed afterwards
    takes effect, and a kept document that an older key signed still serves after a restart."""
    here, away, killed = (Gateway(lab, name) for name in ("here", "away", "killed"))
    for gateway in (here, away, killed):
        gateway.join()
        wait_until("the first document", gateway.up_to_date)
    before = here.shown()["generation"]
    away.stop()
    for _ in range(3):
        rotate(lab)
        killed.stop()
        killed.start()
        wait_until("the gateway that stayed", lambda: here.up_to_date() and here.shown()["generation"] > before)
        before = here.shown()["generation"]
    for moment_s in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        lab.command("signer", "rotate")
        killed.stop()
        killed.start()
        time.sleep(moment_s)  # a moment of its start to be killed in, not a wait for anything
        killed.stop()
        killed.start()
    away.start()
    fingerprint = lab.ask("signer", "rotate")["signer_fingerprint"]
    wait_until("the provider", lambda: signer_fingerprint(lab) == fingerprint)
    for gateway in (here, away, killed):
        wait_until(f"{gateway.name} after all rotations", gateway.up_to_date)
    lab.signer.kill()
    lab.signer.wait()
    here.stop()
    here.start()
    wait_until("a gateway without the signer", here.up_to_date)
    lab.start_signer()
    wait_until("the signer", lambda: lab.command("signer", "rotate").returncode == 0)
    rotate(lab)
    wait_until("the gateway after the signer's kill", here.up_to_date)
    for gateway in (here, away, killed):
        gateway.stop(signal.SIGTERM)


def authorities(lab):
    return lab.ask("signer", "ca", "status")


def held(gateway):
    return gateway.console("status").get("connection_state") == "held"


def epoch(gateway):
    return gateway.shown()["connection_epoch"]


def story_authority(lab):
    """Another authority takes the place of the one in use. Who is held stays held throughout, who is
    away meanwhile keeps the old one from retiring and comes back to the new one; kills of gateways,
    signer and provider in between change nothing."""
    here, away, killed = (Gateway(lab, f"ca-{name}") for name in ("here", "away", "killed"))
    for gateway in (here, away, killed):
        gateway.join()
        wait_until("the first document", gateway.up_to_date)
    first, held_with = authorities(lab), epoch(here)
    assert not first["rotating"] and len(first["authorities"]) == 1, first
    away.stop()
    done = lab.command("signer", "ca", "retire", "--force")
    assert done.returncode == 2, done
    lab.ask("signer", "ca", "rotate")
    assert lab.command("signer", "ca", "rotate").returncode == 6  # one is under way
    wait_until("two authorities", lambda: len(authorities(lab)["authorities"]) == 2)
    lab.signer.kill()
    lab.signer.wait()
    killed.stop()
    lab.start_signer()
    killed.start()
    others = wait_until("those that are there to follow",
                        lambda: [g["name"] for g in authorities(lab)["depending"]] == ["ca-away"])
    assert others
    done = lab.command("signer", "ca", "retire")
    assert done.returncode == 6 and "ca-away" in done.stderr, done
    assert held(here) and epoch(here) == held_with
    lab.restart_provider()
    wait_until("the provider's start", lambda: held(here) and held(killed))
    held_with = epoch(here)
    assert authorities(lab)["rotating"]
    away.start()
    wait_until("the old one to retire", lambda: not authorities(lab)["rotating"], 30)
    last = authorities(lab)
    assert len(last["authorities"]) == 1 and last["authorities"][0]["in_use"]
    assert last["authorities"][0]["fingerprint"] != first["authorities"][0]["fingerprint"]
    assert last["version"] == first["version"] + 2
    assert lab.ask("info")["authority_fingerprint"] == last["authorities"][0]["fingerprint"]
    assert not os.path.exists(os.path.join(lab.folder, "signer", "ca.key"))
    assert held(here) and epoch(here) == held_with
    for gateway in (here, away, killed):
        gateway.stop()
        gateway.start()
    for gateway in (here, away, killed):
        wait_until(f"{gateway.name} with the new authority only",
                   lambda g=gateway: held(g) and g.up_to_date())
    late = Gateway(lab, "ca-late")
    late.join()
    wait_until("a gateway of the new authority", late.up_to_date)
    for gateway in (here, away, killed, late):
        gateway.stop(signal.SIGTERM)


def story_authority_by_force(lab):
    """An authority that is retired by force takes with it who was away and nobody else, and who that
    is was named; it learns why it is refused."""
    lost, here = Gateway(lab, "ca-lost"), Gateway(lab, "ca-stays")
    for gateway in (lost, here):
        gateway.join()
        wait_until("the first document", gateway.up_to_date)
    lost.stop()
    lab.ask("signer", "ca", "rotate")
    wait_until("two authorities", lambda: authorities(lab)["rotating"])
    done = lab.command("signer", "ca", "retire", "--force")
    assert done.returncode == 0 and "ca-lost" in done.stderr, done
    wait_until("one authority", lambda: len(authorities(lab)["authorities"]) == 1)
    lost.start()
    wait_until("the reason at its console",
               lambda: "activated anew" in lost.console("status").get("last_error", ""))
    here.stop()
    here.start()
    wait_until("the one that was connected", lambda: held(here) and here.up_to_date())
    assert not lost.shown()["connected"]
    for gateway in (lost, here):
        gateway.stop()


def story_revocation(lab):
    """A revoked gateway is cut off within about a second and stays so; the others do not notice."""
    gone, stays = Gateway(lab, "gone"), Gateway(lab, "stays")
    for gateway in (gone, stays):
        gateway.join()
        wait_until("the first document", gateway.up_to_date)
    began = time.monotonic()
    assert lab.ask("gateway", "revoke", "gone")["state"] == "revoked"
    wait_until("the end of its connection", lambda: gone.console("status").get("connection_state") != "held", 3)
    print(f"  cut off after {time.monotonic() - began:.2f} s", flush=True)
    wait_until("the reason at its console", lambda: "revoked" in gone.console("status").get("last_error", ""))
    gone.stop()
    gone.start()
    wait_until("a refusal after its restart", lambda: "revoked" in gone.console("status").get("last_error", ""))
    assert not gone.shown()["connected"]
    assert stays.up_to_date()
    done = lab.command("gateway", "revoke", "nobody")
    assert done.returncode == 4, done.stderr
    gone.stop()
    stays.stop(signal.SIGTERM)


def story_kill_is_no_copy(lab):
    """A gateway that is killed while it connects, between Held and the keeping of its token too, is
    never taken for a copy of itself."""
    gateway = Gateway(lab, "stable")
    gateway.join()
    for i in range(25):
        gateway.stop()
        gateway.start()
        time.sleep(0.004 * i)
    wait_until("it to be held", gateway.up_to_date)
    assert lab.ask("gateway", "claimants", "stable") == []
    gateway.stop(signal.SIGTERM)


def story_copied_disk(lab):
    """Two machines with one identity: they are told apart, both are turned away and told why, and
    the one that an operator accepts goes on alone."""
    first = Gateway(lab, "twin")
    first.join()
    wait_until("the first document", first.up_to_date)
    first.stop(signal.SIGTERM)
    second = first.copy("twin-copy")
    first.start()
    wait_until("it to be held", first.up_to_date)
    second.start()
    claimants = wait_until("two claimants", lambda: len(lab.ask("gateway", "claimants", "twin")) == 2
                           and lab.ask("gateway", "claimants", "twin"), 60)
    assert claimants[0]["token"] != claimants[1]["token"] and claimants[0]["boot"] != claimants[1]["boot"]
    for machine in (first, second):
        wait_until("the reason at its console",
                   lambda m=machine: "operator" in m.console("status").get("last_error", ""))
    shown = lab.ask("gateway", "show", "twin")
    assert not shown["connected"] and "claimants" in shown["problem"], shown
    assert lab.command("gateway", "accept", "twin", "--claimant", "9").returncode == 4
    first.stop()
    second.stop()
    lab.ask("gateway", "accept", "twin", "--claimant", str(claimants[0]["claimant"]))
    first.start()
    second.start()
    wait_until("one of them", lambda: lab.ask("gateway", "show", "twin")["connected"])
    states = wait_until("the other to be told", lambda: sorted(
        m.console("status").get("connection_state", "") for m in (first, second)) == ["held", "waiting"])
    assert states
    left = lab.ask("gateway", "claimants", "twin")
    assert [c["state"] for c in left] == ["rejected"], left
    first.stop()
    second.stop()


def main():
    folder = tempfile.mkdtemp(prefix="hf-keys-")
    lab = Lab(folder)
    try:
        lab.start()
        wanted = sys.argv[1:]
        for story in (story_authority, story_rotation, story_revocation, story_kill_is_no_copy,
                      story_copied_disk, story_authority_by_force):
            if wanted and story.__name__ not in wanted:
                continue
            began = time.monotonic()
            story(lab)
            print(f"{story.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        lab.stop()
    except BaseException:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".log"):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
                    print(f"---- {name}\n" + "".join(log.readlines()[-40:]), file=sys.stderr)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
