#!/usr/bin/python3 -B
"""What lies between the processes is authenticated both ways: PostgreSQL over TLS with a verified
name, a client certificate or a password file; NATS with a password, an NKey or a client certificate.
Credentials that were refused are read anew until they are taken, and nobody has to restart
anything."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from cluster import (Cluster, make_certificates, make_nkey,  # noqa: E402
                     sign_certificate, swarm_at, write_private)
from story import check, story, wait_until  # noqa: E402

GATEWAYS = 4
GATEWAY = "swarm-000003"
STILL = {"rebalance_per_s": 0}
NAME = "pg.test"


def change(provider, name):
    volume = provider.must("volume", "create", "--gateway", GATEWAY, "--name", name, "--size",
                           "64MiB", "--wait")
    check(volume["status"] == "available", f"{name} is {volume['status']}: {volume['reason']}")


def hints(provider, travel):
    wait_until(f"hints travel: {travel}", lambda: provider.must("info")["hints_travel"] == travel)


def let_in(cluster, rule):
    """Over TCP only this; the test itself comes through the socket."""
    with open(cluster.postgres.data + "/pg_hba.conf", "w", encoding="ascii") as file:
        file.write(f"local all all trust\n{rule}\n")


def tls_of(cluster):
    """Certificates of the database, and of the provider as its user `holdfast`."""
    folder = cluster.folder + "/tls"
    tls = make_certificates(folder, NAME)
    tls.update(sign_certificate(folder, tls, "client", "holdfast"))
    for name in ("server.crt", "server.key"):
        path = f"{cluster.postgres.data}/{name}"
        with open(tls[name], encoding="ascii") as file:
            write_private(path, file.read())
        owner = os.stat(cluster.postgres.data)
        os.chown(path, owner.st_uid, owner.st_gid)
    with open(cluster.postgres.data + "/postgresql.conf", "a", encoding="ascii") as file:
        file.write("ssl = on\nssl_ca_file = '" + cluster.postgres.data + "/ca.crt'\n")
    with open(tls["ca.crt"], encoding="ascii") as file:
        ca = file.read()
    write_private(cluster.postgres.data + "/ca.crt", ca)
    os.chown(cluster.postgres.data + "/ca.crt", owner.st_uid, owner.st_gid)
    return tls


def address(cluster, tls, more, name=NAME):
    """For `registry`: a file, since what stands in it is nobody's business."""
    path = f"{cluster.folder}/registry-{len(os.listdir(cluster.folder))}"
    write_private(path, f"postgres://holdfast@{name}:{cluster.postgres.port}/postgres?"
                  f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={tls['ca.crt']}&{more}\n")
    return "postgres:" + path


def everybody(cluster, registry):
    for provider in cluster.providers:
        provider.configure({**provider.settings, "registry": registry})


def database_over_tls(folder):
    cluster = Cluster(folder, count=3, nodes=1, **STILL)
    tls = tls_of(cluster)
    let_in(cluster, "hostssl all all 127.0.0.1/32 cert")
    # The last one is told of another name than the server's certificate has.
    *good, wrong = cluster.providers
    shows = f"sslcert={tls['client.crt']}&sslkey={tls['client.key']}"
    everybody(cluster, address(cluster, tls, shows))
    cluster.providers = good
    with cluster:
        swarm = swarm_at(cluster, "swarm", [good[1]], GATEWAYS)
        try:
            change(good[0], "by-certificate")
            seen = cluster.postgres.sql(
                "SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE application_name = 'holdfast-provider'").split()
            check(seen == ["t|TLSv1.3"], f"connections: {seen}")
            for registry, text in (
                    (address(cluster, tls, shows, "other.test"), "does not match host name"),
                    (address(cluster, tls, "sslcert=/nowhere&sslkey=/nowhere"),
                     "requires a valid client certificate")):
                wrong.configure({**wrong.settings, "registry": registry})
                wrong.start()
                check(wrong.process.wait(30) != 0 and wrong.said(text), f"{text}; see {wrong.log}")
            # The password, from a file that is mended while they run.
            passfile = folder + "/passfile"
            line = f"{NAME}:{cluster.postgres.port}:*:holdfast:"
            write_private(passfile, line + "secret\n")
            for provider in good:
                provider.stop()
            let_in(cluster, "hostssl all all 127.0.0.1/32 scram-sha-256")
            cluster.postgres.stop()
            cluster.postgres.start()
            everybody(cluster, address(cluster, tls, "passfile=" + passfile))
            for provider in good:
                provider.start()
            for provider in good:
                provider.wait_ready()
            swarm.wait("all are held again", held=GATEWAYS)
            change(good[0], "by-password")
            cluster.postgres.sql("ALTER USER holdfast PASSWORD 'another'")
            cluster.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                 "WHERE application_name = 'holdfast-provider'")
            for provider in good:
                wait_until("it is away", lambda p=provider: p.must("info")["registry_away"])
            write_private(passfile, line + "another\n")
            for provider in good:
                wait_until("it is back", lambda p=provider: not p.must("info")["registry_away"])
            change(good[0], "by-another-password")
            for provider in good:
                check(not provider.said("another") or not provider.said("secret"), "a password")
        finally:
            swarm.stop()


def credentials_of_hints(folder):
    cluster = Cluster(folder, count=2, nodes=1, **STILL)
    cluster.nats.credentials("user = holdfast\npassword = wrong\n")
    with cluster:
        one, two = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            # Refused from the start: they serve all the same, a second slower.
            for provider in (one, two):
                wait_until("it is said", lambda p=provider: p.said("hints do not travel"))
                hints(provider, False)
            change(one, "without")
            cluster.nats.credentials("user = holdfast\npassword = secret\n")
            for provider in (one, two):
                hints(provider, True)
            change(one, "by-password")
            # The servers change their mind, twice; what is shown is mended after they refused.
            public, seed = make_nkey(folder)
            tls = sign_certificate(folder, cluster.nats.tls, "client", "holdfast")
            ca = f', ca_file: "{cluster.nats.tls["ca.crt"]}", verify_and_map: true'
            for user, verify, shown in (
                    (f'nkey: "{public}"', "", f"nkey = {public}\nnkey_seed = {seed}\n"),
                    ('user: "holdfast"', ca,
                     f"certificate = {tls['client.crt']}\nkey = {tls['client.key']}\n")):
                cluster.nats.stop()
                cluster.nats.admit(user, verify)
                cluster.nats.start()
                for provider in (one, two):
                    hints(provider, False)
                cluster.nats.credentials(shown)
                for provider in (one, two):
                    hints(provider, True)
                change(one, "by-" + shown.split()[0])
            for provider in (one, two):
                check(not provider.said("password = ") and not provider.said("wrong"), "a secret")
        finally:
            swarm.stop()


def different_stores(folder):
    with Cluster(folder, count=2, nodes=1, **STILL) as cluster:
        one, two = cluster.providers
        swarm = swarm_at(cluster, "swarm", [two], GATEWAYS)
        try:
            change(one, "before")
            one.stop()
            one.configure({**one.settings, "store_url": f"dir:{folder}/other-store"})
            one.start().wait_ready()
            wait_until("the other one says so",
                       lambda: "store settings" in two.must("info")["problem"])
            check(two.said("other store settings") and one.must("info")["problem"] == "", "who")
            # Where it holds, it does not undo what the later one wants.
            document = ("SELECT COUNT(*) FROM settings WHERE key = 'store_fingerprint' AND value = "
                        "'" + cluster.postgres.sql("SELECT value FROM settings WHERE key = "
                                                   "'store_fingerprint'").strip() + "'")
            status, _, _ = two.ask("volume", "create", "--gateway", GATEWAY, "--name", "waits",
                                   "--size", "64MiB")
            check(status == 0, "a change is taken")
            check(cluster.postgres.sql(document).strip() == "1", "the settings went back")
            two.stop()
            two.configure({**two.settings, "store_url": f"dir:{folder}/other-store"})
            two.start().wait_ready()
            swarm.wait("all are held again", held=GATEWAYS)
            change(two, "after")
            for provider in (one, two):
                check(provider.must("info")["problem"] == "", "there is a problem")
        finally:
            swarm.stop()


if __name__ == "__main__":
    story([database_over_tls, credentials_of_hints, different_stores])
