"""Who changes things while chaos goes on, each at a process chosen by chance, and remembers what was
promised: an answer that says so. What got no answer, or a refusal, may have happened or not."""

import copy
import random
import threading

from chaos_world import CHANGED, FIRST, MIB

RESTARTS = {"restart-target": "tgtd", "restart-volumed": "holdfast-volumed"}


class Person(threading.Thread):
    """`accepted` is what was promised."""

    REST_S = 0.01

    def __init__(self, world, name):
        super().__init__(daemon=True)
        self.world, self.problem = world, None
        self.rng, self.stopping = random.Random(f"{world.seed}-{name}"), threading.Event()
        self.asking = threading.Lock()  # held from a question until its answer is remembered
        self.asked, self.promised = 0, None

    def ask(self, *arguments):
        self.asked += 1
        answer = self.world.ask(self.rng.randrange(3), *arguments)
        if answer is None:
            self.stopping.wait(0.1)
        return answer

    def work(self):
        """One question."""
        raise NotImplementedError

    def remember(self):
        """The database is being copied."""
        self.promised = copy.deepcopy(self.accepted)

    def go_back(self):
        """… and the copy takes its place: what was promised since is not kept."""
        self.accepted = self.promised

    def run(self):
        try:
            while not self.stopping.is_set():
                with self.asking:
                    self.work()
                self.stopping.wait(self.rng.uniform(0, self.REST_S))
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def finish(self):
        self.stopping.set()
        self.join(90)
        if self.problem:
            raise self.problem


class Administrator(Person):
    """Grows the volumes of simulated gateways and has them restart: the newest size that was promised
    and the restarts, by the number of the volume."""

    def __init__(self, world):
        super().__init__(world, "administrator")
        self.sizes = dict.fromkeys(range(CHANGED), FIRST)
        self.accepted = {"size": {}, "restart": {number: [] for number in range(CHANGED)}}

    def work(self):
        number = self.rng.randrange(CHANGED)
        if self.rng.random() < 0.2:
            answer = self.ask("gateway", "act", f"swarm-{number:06}", "restart-volumed")
            if answer is not None:
                self.accepted["restart"][number].append(answer["action_id"])
            return
        self.sizes[number] += MIB
        if self.ask("volume", "grow", f"v{number}", "--size", str(self.sizes[number])) is not None:
            self.accepted["size"][number] = self.sizes[number]


class Operator(Person):
    """Of one whole gateway: restarts, growth, dry runs, settings of its network. `forgiven`: how many
    restarts may have been done that the database does not know of."""

    REST_S = 1

    def __init__(self, world, gateway):
        super().__init__(world, "operator of " + gateway.name)
        self.gateway, self.size = gateway, FIRST
        self.accepted = {"size": FIRST, **{kind: [] for kind in RESTARTS}}
        self.tried, self.before = dict.fromkeys(RESTARTS, 0), {}
        self.forgiven = dict.fromkeys(RESTARTS, 0)

    def remember(self):
        super().remember()
        self.before = dict(self.tried)

    def go_back(self):
        super().go_back()
        for kind in RESTARTS:
            self.forgiven[kind] += self.tried[kind] - self.before[kind]

    def work(self):
        self.rng.choice([self.restarts] * 4 + [self.grows] * 3 + [self.looks, self.moves])()

    def restarts(self):
        kind = self.rng.choice(list(RESTARTS))
        self.tried[kind] += 1
        answer = self.ask("gateway", "act", self.gateway.name, kind)
        if answer is not None:
            self.accepted[kind].append(answer["action_id"])
        if self.rng.random() < 0.5:
            self.stopping.wait(self.rng.uniform(0, 0.8))
            self.gateway.kill("holdfast-agent")

    def grows(self):
        self.size += MIB
        if self.ask("volume", "grow", self.gateway.name + "-grown", "--size",
                    str(self.size)) is not None:
            self.accepted["size"] = self.size

    def looks(self):
        self.ask("volume", "create", "--gateway", self.gateway.name, "--name",
                 self.gateway.name + "-never", "--size", "64MiB", "--dry-run", "--timeout", "3")

    def moves(self):
        """Half of the settings are good, whenever a provider is there."""
        ways = self.rng.choice([self.world.proxies, self.world.others, None, None])
        endpoints = [w.endpoint for w in ways] if ways else ["127.0.0.1:1", "127.0.0.2:1"]
        self.set_network(endpoints, 4)

    def set_network(self, endpoints, within_s):
        return self.ask("gateway", "network", self.gateway.name, "--confirm-within", str(within_s),
                        *(word for e in endpoints for word in ("--endpoint", e)))
