"""What happens to the world of chaos_world.py: three threads of faults, each with choices of its own
from the seed, so that a seed gives the same faults in the same order in each of them."""

import random
import signal
import threading
import time

from clock import set_clock
from story import wait_until

HOUR_S = 3600


class Lane(threading.Thread):
    """One fault after the other. A fault is a generator: each `yield` is a moment of chance."""

    REST_S = 1.5  # at most, in between

    def __init__(self, world, seconds):
        super().__init__(daemon=True)
        self.world, self.seconds, self.done, self.problem = world, seconds, [], None
        self.rng = random.Random(f"{world.seed}-{type(self).__name__}")

    def faults(self):
        raise NotImplementedError

    def before(self):
        """Each fault."""

    def run(self):
        until = time.monotonic() + self.seconds
        try:
            while time.monotonic() < until:
                self.before()
                fault = self.rng.choice(self.faults())
                self.done.append(fault.__name__)
                for note in fault():
                    if note is not None:
                        self.done[-1] += f" {note}"
                    lasts_s = self.rng.uniform(0.3, 1.5)
                    self.done[-1] += f" {lasts_s:.2f}"
                    time.sleep(lasts_s)
                time.sleep(self.rng.uniform(0, self.REST_S))
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def finish(self):
        self.join()
        print(f"{type(self).__name__.lower()}: {', '.join(self.done)}", flush=True)
        if self.problem:
            raise self.problem


class Processes(Lane):
    """Of the provider: its processes, the database, the nodes of NATS."""

    def before(self):
        self.world.revive()

    def ordinary(self):
        return [self.provider_dies, self.provider_dies, self.holder_dies, self.provider_stops,
                self.provider_is_late, self.database_stops, self.database_hangs, self.node_dies]

    def faults(self):
        return self.ordinary() * 2 + [self.database_is_older] * (not self.world.older_us)

    def provider_dies(self):
        number = self.rng.randrange(3)
        self.world.end(number, signal.SIGKILL)
        yield number
        self.world.cluster.providers[number].start()

    def holder_dies(self):
        """Of a whole gateway, whose standby is to take over."""
        gateway = self.rng.choice(self.world.whole)
        at = gateway.looked("connection_endpoint")
        number = next((n for n, proxy in enumerate(self.world.proxies) if proxy.endpoint == at), 0)
        self.world.end(number, signal.SIGKILL)
        yield gateway.name
        yield
        self.world.cluster.providers[number].start()

    def provider_stops(self):
        number = self.rng.randrange(3)
        self.world.end(number, signal.SIGTERM)
        yield number
        self.world.cluster.providers[number].start()

    def provider_is_late(self):
        """It wakes up with the epochs of before, and with what it was about to send."""
        number = self.rng.randrange(3)
        process = self.world.cluster.providers[number].process
        process.send_signal(signal.SIGSTOP)
        yield number
        yield
        yield
        process.send_signal(signal.SIGCONT)

    def database_stops(self):
        self.world.cluster.postgres.stop(self.rng.choice([signal.SIGINT, signal.SIGQUIT]))
        yield
        self.world.cluster.postgres.start()

    def database_hangs(self):
        self.world.cluster.postgres.hang()
        yield
        self.world.cluster.postgres.hang(False)

    def database_is_older(self):
        """A backup takes its place, once."""
        self.world.back_up()
        for _ in range(3):
            yield
            yield from self.rng.choice(self.ordinary())()
        self.world.restore()
        yield "restored"

    def node_dies(self):
        node = self.rng.randrange(3)
        self.world.cluster.nats.stop(node)
        yield node
        self.world.cluster.nats.start(node)


class Networks(Lane):
    """Between gateways and provider, between provider and database; and the clocks."""

    def faults(self):
        return [self.is_cut, self.falls_silent, self.falls_silent, self.loses_database,
                self.waits_for_database, self.provider_clock_jumps, self.gateway_clock_jumps]

    def cut(self, proxies):
        proxy = self.rng.choice(proxies)
        proxy.refusing = True
        proxy.cut()
        yield proxies.index(proxy)
        proxy.refusing = False

    def silence(self, proxies):
        proxy = self.rng.choice(proxies)
        proxy.silent = True
        yield proxies.index(proxy)
        yield
        yield
        proxy.silent = False

    def is_cut(self):
        yield from self.cut(self.world.proxies)

    def falls_silent(self):
        """What was sent meanwhile comes late."""
        yield from self.silence(self.world.proxies)

    def loses_database(self):
        yield from self.cut(self.world.to_database)

    def waits_for_database(self):
        yield from self.silence(self.world.to_database)

    def provider_clock_jumps(self):
        number, by_s = self.rng.randrange(3), self.rng.randint(-HOUR_S, 40 * HOUR_S)
        set_clock(self.world.clocks[number], by_s)
        yield f"{number} by {by_s} s"

    def gateway_clock_jumps(self):
        gateway = self.rng.choice(self.world.whole)
        by_s = self.rng.randint(-1000 * HOUR_S, 1000 * HOUR_S)
        set_clock(gateway.clock, by_s)
        yield f"{gateway.name} by {by_s} s"


class Gateways(Lane):
    """Parts of gateways. Of all but the first whole gateway tgtd and volumed are left to the actions,
    so that each of their ends is one that was asked for."""

    def faults(self):
        return [self.swarm_dies] + [self.part_dies] * 5

    def swarm_dies(self):
        self.world.swarm.stop(signal.SIGKILL)
        yield
        self.world.swarm.start()

    def part_dies(self):
        number = self.rng.randrange(len(self.world.whole))
        parts = ["holdfast-agent", "holdfast-agent", "holdfast-broker"]
        if number == 0:
            parts += ["tgtd", "holdfast-volumed"]
        part = self.rng.choice(parts)
        self.world.whole[number].kill(part)
        yield f"{self.world.whole[number].name} {part}"


def heal(world):
    """Whatever a fault left is well again."""
    for proxy in [*world.proxies, *world.others, *world.to_database]:
        proxy.silent = proxy.refusing = False
    for clock in [*world.clocks, *(gateway.clock for gateway in world.whole)]:
        set_clock(clock, 0)
    for provider in world.cluster.providers:
        wait_until(f"the provider; see {provider.log}",
                   lambda p=provider: world.revive() or p.ready())
