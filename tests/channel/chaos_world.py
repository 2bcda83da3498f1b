"""What chaos goes on in: a cluster that is reached, and that reaches its database, only through
proxies of ours; a swarm of simulated gateways; a few whole ones, each with a client that writes,
reads and verifies all the time."""

import contextlib
import os
import signal
import time

from clock import LIBRARY, moved_by
from cluster import Cluster, skip
from fault_proxy import FaultProxy
from hints import HintReplayer
from iscsi_client import Verifier
from story import check, wait_until
from swarm import Swarm, prepare
from whole_gateway import WholeGateway

MIB = 1 << 20
SIMULATED = 40
CHANGED = 8     # of them have a volume
FIRST = 64 * MIB
ASK_S = 5       # then nothing was promised, and it may be done all the same
SETTINGS = {"ping_interval_ms": 1000, "standby_spread_ms": 200, "drain_window_ms": 1000,
            "reconnects_per_minute": 0}


class World:
    def __init__(self, folder, seed, whole):
        if not LIBRARY:
            skip("no libfaketime; apt-get install libfaketime")
        self.folder, self.seed = folder, seed
        os.makedirs(folder + "/store")
        self.cluster = Cluster(folder, **SETTINGS)
        providers = self.cluster.providers
        self.proxies = [FaultProxy(p.address, 7001) for p in providers]
        # Nobody is told of these but by settings of the network.
        self.others = [FaultProxy(p.address, 7001) for p in providers]
        self.to_database = [FaultProxy("127.0.0.1", self.cluster.postgres.port)
                            for _ in providers]
        self.clocks = [provider.folder + "/clock" for provider in providers]
        for provider, proxy, database, clock in zip(providers, self.proxies, self.to_database,
                                                    self.clocks):
            provider.env = moved_by(clock)
            provider.configure({
                **provider.settings, "process_endpoint": proxy.endpoint,
                "channel_advertise": ", ".join(p.endpoint for p in self.proxies),
                "registry": f"postgres://holdfast:secret@{database.endpoint}/postgres"
                            "?sslmode=disable"})
        self.hints = HintReplayer(self.cluster.nats, seed)
        self.swarm = None
        self.whole = [WholeGateway(f"whole-{number}", providers[0].settings["activation_listen"],
                                   faked_clock=True) for number in range(whole)]
        self.volumes, self.clients = [], []
        self.simulated = {}  # number of the volume: gateway
        self.people = []
        self.older_us = []  # from when until when the database forgot what happened

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.start()
        except BaseException as e:
            self.__exit__(type(e), e, None)
            raise
        return self

    def start(self):
        identities = self.folder + "/identities"
        prepare(self.cluster.postgres.url, self.cluster.signer.settings["run_dir"], SIMULATED,
                self.seed, identities)
        self.swarm = Swarm(self.folder + "/swarm", identities, [p.endpoint for p in self.proxies],
                           "--standby")
        self.swarm.start()
        for gateway in self.whole:
            gateway.start_all()
        self.swarm.wait("all are held", held=SIMULATED)
        for gateway in self.whole:
            gateway.join(self.cluster.providers[0])
        for number in range(CHANGED):
            volume = self.make(f"swarm-{number:06}", f"v{number}")
            self.simulated[number] = volume["gateway_id"].removeprefix("sgw-")
        for gateway in self.whole:
            self.volumes.append(self.make(gateway.name, gateway.name + "-used"))
            self.make(gateway.name, gateway.name + "-grown")
        self.clients = [Verifier(volume, "reconnect") for volume in self.volumes]
        self.hints.start()

    def make(self, gateway, name):
        return self.cluster.providers[0].must("volume", "create", "--gateway", gateway, "--name",
                                              name, "--size", str(FIRST), "--wait")

    def __exit__(self, kind, value, trace):
        self.hints.stopping.set()
        for client in self.clients:
            client.process.kill()
            client.process.wait()
        if self.swarm and self.swarm.process:
            self.swarm.stop(signal.SIGKILL)
        for gateway in self.whole:
            if kind:
                print(f"{gateway.name}: {gateway.layout.dir}")
                gateway.down()
            else:
                gateway.close()
        self.cluster.__exit__(kind, value, trace)

    # ---- The provider's processes

    def end(self, number, how):
        """Until the end, which is of our making or a refusal to start without the database."""
        provider = self.cluster.providers[number]
        process, provider.process = provider.process, None
        if process is None:
            return
        process.send_signal(how)
        status = process.wait(60)
        check(status >= 0 or status == -how, f"a provider ended with {status}: {provider.log}")

    def revive(self):
        """As a supervisor does."""
        for number, provider in enumerate(self.cluster.providers):
            if provider.process and provider.process.poll() is not None:
                self.end(number, signal.SIGKILL)
                provider.start()

    # ---- The database goes back

    @contextlib.contextmanager
    def silence(self):
        """Nobody asks."""
        for person in self.people:
            person.asking.acquire()
        try:
            yield
        finally:
            for person in self.people:
                person.asking.release()

    def back_up(self):
        with self.silence():
            self.older_us = [time.time_ns() // 1000]
            self.cluster.postgres.dump(self.folder + "/backup")
            for person in self.people:
                person.remember()

    def restore(self):
        """As docs/operations/provider.md says."""
        first = self.cluster.providers[0]
        with self.silence():
            for number in range(len(self.cluster.providers)):
                self.end(number, signal.SIGKILL)
            self.cluster.postgres.stop(signal.SIGQUIT)
            self.cluster.postgres.start()
            self.cluster.postgres.restore(self.folder + "/backup")
            while not self.incarnates(first):
                self.end(0, signal.SIGKILL)
            for provider in self.cluster.providers[1:]:
                provider.start()
            self.older_us.append(time.time_ns() // 1000)
            for person in self.people:
                person.go_back()

    @staticmethod
    def incarnates(provider):
        """False: it ended, because the database was cut off."""
        provider.start("--new-incarnation")
        wait_until(f"a new incarnation; see {provider.log}",
                   lambda: provider.process.poll() is not None or provider.ready())
        return provider.process.poll() is None

    def forgotten(self, time_us):
        """Is what happened then unknown to the database that was restored?"""
        return len(self.older_us) == 2 and self.older_us[0] <= time_us <= self.older_us[1]

    # ---- Asking

    def ask(self, number, *arguments):
        """The answer of that process, as the administrator gets it; None: it promised nothing."""
        try:
            status, answer, _ = self.cluster.providers[number].ask(*arguments, timeout=ASK_S)
            return (answer or {}) if status == 0 else None
        except Exception:  # pylint: disable=broad-except
            return None  # it died over the question

    def settled(self, gateway):
        endpoints = gateway.looked("connection_endpoint"), gateway.looked("standby_endpoint")
        return all(endpoints) and endpoints[0] != endpoints[1]

    def wait_settled(self, deadline_s):
        wait_until("all simulated gateways are held and have a standby",
                   lambda: [self.swarm.status.get(key) for key in ("held", "parked")] ==
                   [SIMULATED, SIMULATED], deadline_s)
        for gateway in self.whole:
            wait_until(f"{gateway.name} is held and has a standby",
                       lambda g=gateway: self.settled(g), deadline_s)


def newest_sizes(swarm):
    sizes = {}
    for _, kind, gateway, _, _, _, _, text in swarm.effects():
        if kind == "applied":
            sizes[gateway] = int(text.rsplit("size=", 1)[1])
    return sizes
