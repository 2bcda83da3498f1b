"""A management plane without a data plane: signer, provider and one agent, each started by the test
itself, with whatever names, proxies and clocks the test wants between them."""

import json
import os
import signal
import subprocess

from story import BIN, check, free_ports, wait_until, write_config


class Plane:
    """`advertise`: host names that gateways are told, instead of the address."""

    def __init__(self, folder, listen="127.0.0.1", advertise=None, provider=None, agent=None):
        self.folder = folder
        self.channel, self.activation = free_ports(2)
        self.processes = {}
        self.provider_config = {
            "run_dir": self.path("p"), "state_dir": self.path("provider"),
            "channel_listen": f"{listen}:{self.channel}",
            "activation_listen": f"{listen}:{self.activation}",
            "store_url": "dir:" + self.path("store"), "ping_interval_ms": 1000,
            **(provider or {})}
        if advertise:
            self.provider_config["channel_advertise"] = ", ".join(
                f"{name}:{self.channel}" for name in advertise)
        host = advertise[0] if advertise else listen
        self.agent_config = {
            "run_dir": self.path("g"), "state_dir": self.path("agent"),
            "activation": f"{host}:{self.activation}", "portal": "127.0.0.1:3260",
            **(agent or {})}
        for name in ("p", "g", "provider", "agent", "signer", "store", "log"):
            os.mkdir(self.path(name), 0o700)
        self.env = {**os.environ, "HOLDFAST_PROVIDER_RUN": self.path("p"),
                    "HOLDFAST_GATEWAY_RUN": self.path("g"),
                    "HOLDFAST_GATEWAY_CONFIG": self.path("agent.conf")}

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def log(self, name):
        with open(self.path("log", name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    # ---- Processes

    def start(self, name, config, env=None):
        write_config(self.path(name + ".conf"), config)
        with open(self.path("log", name + ".log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [os.path.join(BIN, "holdfast-" + name), "--config", self.path(name + ".conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**self.env, **(env or {})})

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name, None)
        if process:
            process.send_signal(how)
            check(process.wait(30) is not None, f"{name} did not stop")

    def start_provider(self, **keywords):
        if "signer" not in self.processes:
            self.start("signer", {"run_dir": self.path("p"), "state_dir": self.path("signer")})
        self.start("provider", self.provider_config, **keywords)
        wait_until("the provider", lambda: self.works("holdfast", "gateway", "list"))

    def start_agent(self, **keywords):
        self.start("agent", self.agent_config, **keywords)
        wait_until("the agent", lambda: self.works("holdfast-gateway", "activation"))

    def restart_agent(self, **keywords):
        self.stop("agent")
        self.start_agent(**keywords)

    def close(self):
        for name in list(self.processes):
            self.stop(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- Commands

    def run(self, *argv, env=None):
        return subprocess.run([os.path.join(BIN, argv[0]), *argv[1:]], capture_output=True,
                              text=True, env={**self.env, **(env or {})}, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)

    def ask(self, *argv):
        done = self.run(*argv, "--json")
        check(done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def works(self, *argv):
        return self.run(*argv, "--json").returncode == 0

    def status(self):
        """What the agent says, whether or not volumed is there."""
        return json.loads(self.run("holdfast-gateway", "status", "--json").stdout)["agent"]

    def doctor(self):
        """(exit status, its checks by name, the whole answer)"""
        done = self.run("holdfast-gateway", "doctor", "--json")
        answer = json.loads(done.stdout)
        return done.returncode, {c["name"]: c for c in answer["checks"]}, answer

    # ---- Stories

    def activate(self, name="lab"):
        key = wait_until("the activation key", lambda: self.ask(
            "holdfast-gateway", "activation").get("activation_key"))
        gateway = self.ask("holdfast", "gateway", "activate", key, "--name", name)
        self.ask("holdfast", "gateway", "confirm", gateway["gateway_id"])
        self.wait_held()
        return gateway["gateway_id"]

    def wait_held(self, deadline_s=60):
        return wait_until("the connection to be held", lambda: self.is_held() and self.status(),
                          deadline_s)

    def is_held(self):
        return self.status()["connection_state"] == "held"

    def wait_error(self, text, deadline_s=60):
        """Until the agent says so of its last try."""
        def said():
            return text in (self.status()["last_error"] or "")
        wait_until(f"the agent to say `{text}`", said, deadline_s)
