#!/usr/bin/python3 -B
"""The way through an HTTP proxy, on real parts: activation and the management connection go through
it and nowhere else; credentials come from a file, are followed when they change, and stand in no
log and no argument; each way in which a proxy fails is named, and harms nothing (invariant 9)."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from connect_proxy import ConnectProxy  # noqa: E402
from plane import Plane  # noqa: E402
from story import check, story, wait_until  # noqa: E402

PASSWORD = "correct-horse-proxy-9"
OTHER = "battery-staple-proxy-7"


def write_credentials(path, user, password):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as f:
        f.write(f"{user}:{password}\n")


def check_secrecy(plane, secrets):
    for name in os.listdir(plane.path("log")):
        for secret in secrets:
            check(secret not in plane.log(name.removesuffix(".log")),
                  f"a secret stands in {name}")
    for process in plane.processes.values():
        for what in ("cmdline", "environ"):
            with open(f"/proc/{process.pid}/{what}", "rb") as f:
                text = f.read()
            check(all(secret.encode() not in text for secret in secrets),
                  f"a secret stands in {what} of {process.args[0]}")


def proxied(folder, proxy):
    credentials = os.path.join(folder, "proxy-credentials")
    write_credentials(credentials, "gateway", PASSWORD)
    return Plane(folder, agent={"proxy": proxy.url, "proxy_credentials": credentials}), credentials


def through_a_proxy_with_a_password(folder):
    proxy = ConnectProxy(user="gateway", password=PASSWORD)
    plane, credentials = proxied(folder, proxy)
    with plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        check(f"127.0.0.1:{plane.activation}" in proxy.targets(), "activation went elsewhere")
        check(f"127.0.0.1:{plane.channel}" in proxy.targets(), "the connection went elsewhere")
        check(all(method == "CONNECT" for method, _, _ in proxy.requests), "not only CONNECT")
        # The password changes at the proxy, then in the file; the agent is not restarted.
        proxy.set_password("gateway", OTHER)
        proxy.cut()
        plane.wait_error("proxy: 127.0.0.1")
        plane.wait_error("does not accept the user and password of " + credentials)
        write_credentials(credentials, "gateway", OTHER)
        plane.wait_held()
        check_secrecy(plane, (PASSWORD, OTHER))
        check("127.0.0.1" in plane.log("provider"), "the provider logged nothing")
    proxy.close()


def faults_are_named(folder):
    proxy = ConnectProxy(user="gateway", password=PASSWORD)
    plane, credentials = proxied(folder, proxy)
    says = {
        "403": "does not allow CONNECT to 127.0.0.1:",
        "502": "cannot reach 127.0.0.1:",
        "503": "cannot reach 127.0.0.1:",
        "ntlm": "not Basic",
        "redirect": "captive portal",
        "page": "captive portal",
        "page-without-type": "does not speak TLS",
        "garbage": "no HTTP proxy",
        "endless": "more than 16384 bytes",
        "cut": "cut the connection without an answer",
    }
    with plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        for fault, text in says.items():
            proxy.fault = fault
            plane.restart_agent()
            plane.wait_error(text)
            check(not plane.is_held(), "held through a broken proxy")
            status, checks, answer = plane.doctor()
            hop = "tls" if fault == "page-without-type" else "proxy"
            check(status == {"tls": 14, "proxy": 13}[hop] and text in checks[hop]["text"],
                  f"{fault}: the doctor says {answer}")
            proxy.fault = ""
        os.chmod(credentials, 0o644)
        plane.restart_agent()
        plane.wait_error("only its owner can read")
        check(plane.doctor()[0] == 10, "the doctor does not see open credentials")
        os.unlink(credentials)
        plane.restart_agent()
        plane.wait_error("proxy-credentials: No such file")
        write_credentials(credentials, "gateway", PASSWORD)
        proxy.fault = "silent"  # is given up in time
        plane.restart_agent()
        began = time.monotonic()
        plane.wait_error("does not answer CONNECT in time")
        check(time.monotonic() - began < 25, "a silent proxy is waited for too long")
        proxy.fault = ""
        plane.wait_held(90)
        count = len(proxy.requests)
        proxy.cut()
        wait_until("a new tunnel", lambda: len(proxy.requests) > count)
        plane.wait_held()
    proxy.close()


def bad_settings_are_refused(folder):
    plane = Plane(folder)
    for keys, text in (
            ({"proxy": "127.0.0.1:3128"}, "http://HOST:PORT"),
            ({"proxy": "https://127.0.0.1:3128"}, "http://HOST:PORT"),
            ({"proxy": f"http://u:{PASSWORD}@127.0.0.1:3128"}, "proxy_credentials"),
            ({"proxy_credentials": "/etc/x"}, "without `proxy`"),
            ({"provider": "127.0.0.1:1, nowhere"}, "is not host:port")):
        plane.agent_config.update(keys)
        plane.start("agent", plane.agent_config)
        status = plane.processes.pop("agent").wait(10)
        check(status == 2 and text in plane.log("agent"), f"{keys}: {plane.log('agent')}")
        for key in keys:
            del plane.agent_config[key]
    check(PASSWORD not in plane.log("agent"), "the password stands in the log")


def set_network(plane, proxy, password, *more):
    """As an administrator does at the provider; the agent has no proxy of its own."""
    with open(os.open(plane.path("password"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as f:
        f.write(password + "\n")
    return plane.ask("holdfast", "gateway", "network", "lab", "--proxy", proxy.url,
                     "--proxy-user", "gateway", "--proxy-password-file", plane.path("password"),
                     "--confirm-within", "8", *more)


def network_state(plane):
    return plane.ask("holdfast", "gateway", "show", "lab").get("network_state")


def files_with(folder, secret):
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    if secret.encode() in f.read():
                        found.append(os.path.relpath(path, folder))
    return sorted(found)


def password_comes_from_the_provider(folder):
    """Sealed all the way: it is in the clear in the gateway's memory and in the file from which its
    dialler reads it, and nowhere else; wrong ones are taken back by the gateway itself."""
    proxy = ConnectProxy(user="gateway", password=PASSWORD)
    with Plane(folder) as plane:
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        check(not proxy.requests, "the proxy was used before anybody said so")
        shown = set_network(plane, proxy, PASSWORD)
        check(shown["network_proxy_credentials"] is True, shown)
        wait_until("the settings to be confirmed", lambda: network_state(plane) == "confirmed")
        check(f"127.0.0.1:{plane.channel}" in proxy.targets(), "the connection went elsewhere")
        # The right one of now is another one; the wrong one costs the channel, and is taken back.
        known = len(proxy.requests)
        set_network(plane, proxy, OTHER)
        wait_until("the settings to be rolled back",
                   lambda: network_state(plane) == "rolled back", 60)
        plane.wait_held()
        check(len(proxy.requests) > known + 1, "the new password was not tried")
        check(proxy.requests[-1][2]["proxy-authorization"] == proxy.wanted,
              "it is held with other credentials than those that were confirmed")
        # After a restart of both, and a change of something else, they are still known.
        plane.restart_agent()
        plane.wait_held()
        # Changed in the right order: first there, then here.
        proxy.set_password("gateway", OTHER)
        set_network(plane, proxy, OTHER)  # by the connection that is still open
        wait_until("the settings to be confirmed", lambda: network_state(plane) == "confirmed")
        check_secrecy(plane, (PASSWORD, OTHER))
        os.unlink(plane.path("password"))
        check(files_with(folder, PASSWORD) == [], files_with(folder, PASSWORD))
        check(files_with(folder, OTHER) == ["agent/proxy"], files_with(folder, OTHER))
        check(os.stat(plane.path("agent", "proxy")).st_mode & 0o777 == 0o600, "others can read it")
        # Without the signer nothing is changed, and that is said.
        plane.stop("signer")
        with open(plane.path("password"), "w", encoding="utf-8") as f:
            f.write("x\n")
        done = plane.run("holdfast", "gateway", "network", "lab", "--proxy", proxy.url,
                         "--proxy-user", "gateway", "--proxy-password-file",
                         plane.path("password"))
        check(done.returncode != 0 and "signer is away" in done.stderr, done.stderr)
        check(network_state(plane) == "confirmed", "something was changed")
        for argv, text in ((("--proxy-user", "u"), "belong together"),
                           (("--proxy-user", "u:v", "--proxy", proxy.url, "--proxy-password-file",
                             plane.path("password")), "without a colon")):
            done = plane.run("holdfast", "gateway", "network", "lab", *argv)
            check(done.returncode != 0 and text in done.stderr, done.stderr)
    proxy.close()


if __name__ == "__main__":
    story((through_a_proxy_with_a_password, faults_are_named, bad_settings_are_refused,
           password_comes_from_the_provider))
