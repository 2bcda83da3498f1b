#!/usr/bin/python3 -B
"""Changes that the signer refuses, however many and however lasting, keep nobody else's back: more
gateways than the provider keeps in mind, none of them known to the signer, and one that is."""

import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from story import check, free_ports, story, wait_until  # noqa: E402
from swarm import OneProvider, end, prepare  # noqa: E402

REFUSED = 2500  # twice what the provider keeps in its list, and more


def add_refused(path):
    """They come before the one that is not, in the order in which the provider looks."""
    with sqlite3.connect(path, timeout=10) as db:
        (tenant,) = db.execute("SELECT tenant FROM gateways").fetchone()
        db.executemany(
            "INSERT INTO gateways (id, tenant, name, state, reason, identity_key, sealing_key, "
            "epoch, generation, applied_incarnation, applied_generation, last_seen_ms, host, "
            "version, portal) VALUES (?, ?, ?, 3, '', ?, ?, 0, 1, 0, 0, 0, '', '', '')",
            [(i + 1, tenant, f"stranger-{i}", os.urandom(32), os.urandom(32))
             for i in range(REFUSED)])


def published(path):
    with sqlite3.connect(path, timeout=10) as db:
        return db.execute("SELECT count(*) FROM documents").fetchone()[0]


def refused_changes_block_nobody(folder):
    provider = OneProvider(folder, free_ports(2))
    try:
        provider.start_signer()
        provider.start_provider()
        provider.wait_ready()
        prepare(provider.registry, provider.run, 1, 3, os.path.join(folder, "identities"))
        end(provider.provider)
        add_refused(provider.registry)
        provider.start_provider()
        provider.wait_ready()
        log = os.path.join(folder, "provider", "log")

        def tried():
            with open(log, encoding="utf-8") as f:
                return sum("is not published" in line for line in f) > 1024
        wait_until("the strangers were refused", tried)
        provider.ask("volume", "create", "--gateway", "swarm-000000", "--name", "v", "--size",
                     "64MiB")
        wait_until("the change of the other one", lambda: published(provider.registry) == 1)
        # And found by looking, as a change of which nobody told.
        with sqlite3.connect(provider.registry, timeout=10) as db:
            db.execute("DELETE FROM documents")
        wait_until("it is signed again", lambda: published(provider.registry) == 1)
        check(provider.provider.poll() is None, "the provider lives")
    finally:
        provider.stop()


if __name__ == "__main__":
    story([refused_changes_block_nobody])
