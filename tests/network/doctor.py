#!/usr/bin/python3 -B
"""`holdfast-gateway doctor` on real parts: each hop made to fail is the one it names, with its exit
status and what to do, also with clocks that are wrong on either side (libfaketime); it disturbs no
connection, and serves people and programs."""

import glob
import os
import shutil
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from connect_proxy import ConnectProxy  # noqa: E402
from plane import Plane  # noqa: E402
from story import check, story, wait_until  # noqa: E402

STATUS = {"configuration": 10, "dns": 11, "tcp": 12, "proxy": 13, "tls": 14, "clock": 15,
          "authorization": 16, "provider": 17}


FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


def faked_by(seconds):
    return {**faked(0), "FAKETIME": f"{seconds:+d}s"}


def faked(days):
    """Of a process whose clock is that many days off. (The command faketime stays between us and
    the process, and would take the signals that are meant for it.)"""
    return {"LD_PRELOAD": FAKETIME[0], "FAKETIME": f"{days:+d}d", "DONT_FAKE_MONOTONIC": "1"}


def expect(plane, failing, text):
    status, checks, answer = plane.doctor()
    check(answer["failing"] == failing and status == STATUS[failing],
          f"expected {failing}, the doctor says {answer}")
    check(text in checks[failing]["text"], f"expected `{text}`, the doctor says {answer}")
    return checks


def activated(folder, **keywords):
    plane = Plane(folder, **keywords)
    plane.start_provider()
    plane.start_agent()
    plane.gateway = plane.activate()
    return plane


def a_good_way_is_good(folder):
    with activated(folder) as plane:
        epoch = plane.status()["connection_epoch"]
        status, checks, _ = plane.doctor()
        check(status == 18, "volumed and broker are not there")
        for name in ("configuration", "dns", "tcp", "tls", "authorization", "provider"):
            check(checks[name]["result"] == "good", f"{name}: {checks[name]}")
        check(checks["proxy"]["result"] == "skipped", "no proxy is configured")
        check(checks["volumed"]["result"] == "failed", "volumed is not there")
        check(plane.is_held() and plane.status()["connection_epoch"] == epoch,
              "the doctor disturbed the connection")
        done = plane.run("holdfast-gateway", "doctor")
        check("It fails at: volumed" in done.stdout and done.returncode == 18, done.stdout)
        check(plane.run("holdfast-gateway", "doctor", "--frobnicate").returncode == 2, "usage")
        plane.stop("agent")
        _, checks, _ = plane.doctor()
        check(checks["tls"]["result"] == "good" and checks["agent"]["result"] == "failed",
              "without an agent")


def configuration(folder):
    with activated(folder) as plane:
        good = plane.agent_config
        with open(plane.path("agent.conf"), "a", encoding="utf-8") as f:
            f.write("frobnicate = 1\n")
        expect(plane, "configuration", "frobnicate")
        shutil.copy(plane.path("agent", "activated"), plane.path("kept"))
        with open(plane.path("agent.conf"), "w", encoding="utf-8") as f:
            f.writelines(f"{key} = {value}\n" for key, value in good.items())
        os.truncate(plane.path("agent", "activated"), 30)
        expect(plane, "configuration", "activated")
        shutil.copy(plane.path("kept"), plane.path("agent", "activated"))
        check(plane.doctor()[0] == 18, "mended, and still ill")


def serve(answer):
    """A listener that sends each caller the same bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(4096)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(4096):
                        pass
                except OSError:
                    pass
    threading.Thread(target=run, daemon=True).start()
    return server


def tls(folder):
    os.mkdir(os.path.join(folder, "other"))
    page = b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n<html>log in</html>"
    with activated(folder) as plane, Plane(os.path.join(folder, "other")) as other:
        other.start_provider()
        server = serve(page)
        for endpoint, text in (
                (f"127.0.0.1:{server.getsockname()[1]}", "captive portal"),
                (f"127.0.0.1:{other.channel}", "of no authority that is known here"),
                (f"127.0.0.1:{plane.activation}", "ALPN"),
                (f"localhost:{plane.channel}", "another name")):
            plane.agent_config["provider"] = endpoint
            plane.restart_agent()
            plane.wait_error("tls: ")
            expect(plane, "tls", text)
        server.close()


def clocks(folder):
    proxy = ConnectProxy()
    with activated(folder, agent={"proxy": proxy.url}) as plane:
        # The gateway's is years behind: what it knows to be past keeps it in service.
        plane.stop("agent")
        plane.start_agent(env=faked(-3650))
        plane.wait_held()
        done = plane.run("holdfast-gateway", "doctor", env=faked(-3650))
        check(done.returncode == STATUS["clock"] and "behind" in done.stdout,
              f"the doctor says {done.stdout}")
        # It is years ahead: the provider's certificate does not fit.
        plane.stop("agent")
        plane.start_agent(env=faked(3650))
        plane.wait_error("clock: ")
        plane.wait_error("ahead")
        done = plane.run("holdfast-gateway", "doctor", env=faked(3650))
        check(done.returncode == STATUS["clock"], f"the doctor says {done.stdout}")
        plane.restart_agent()
        plane.wait_held()
        # The provider's is behind: it does not take the gateway's certificate.
        plane.stop("provider")
        plane.start_provider(env=faked(-30))
        plane.restart_agent()
        plane.wait_error("not valid yet")
        expect(plane, "clock", "not valid yet")
        check("the gateway's certificate is not valid before" in plane.log("provider"),
              "the provider's log does not say why")
        plane.stop("provider")
        plane.start_provider()
        # Small differences do not get in the way; both sides tell them.
        for ahead_s in (-600, 600):
            plane.stop("provider")
            plane.start_provider(env=faked_by(ahead_s))
            plane.restart_agent()
            plane.wait_held()
            _, checks, answer = plane.doctor()
            check(checks["clock"]["result"] == "warning" and "the provider's clock is" in
                  checks["clock"]["text"] and ("ahead" if ahead_s > 0 else "behind") in
                  checks["clock"]["text"], f"the doctor says {answer}")
            seen = wait_until("a report", lambda: plane.ask(
                "holdfast", "gateway", "show", plane.gateway).get("clock_ahead_ms"))
            check(abs(seen + ahead_s * 1000) < 60000, f"the provider says {seen}")
        plane.stop("provider")
        plane.start_provider()
        # The proxy's clock tells of a small difference, which is only worth a word.
        proxy.ahead_s = 4000
        plane.restart_agent()
        plane.wait_held()
        _, checks, answer = plane.doctor()
        check(checks["clock"]["result"] == "warning" and "proxy" in checks["clock"]["text"],
              f"the doctor says {answer}")
    proxy.close()


def provider(folder):
    """A gateway that is known, and is told to wait: here because it connects again and again."""
    with activated(folder, provider={"reconnects_per_minute": 1}) as plane:
        for _ in range(40):
            plane.restart_agent()
            wait_until("the provider to answer", lambda: plane.is_held() or
                       plane.status()["last_error"])
            if not plane.is_held():
                break
        expect(plane, "provider", "connects too often")
        check("has to wait" in plane.log("provider"), "the provider's log does not say so")


def authorization(folder):
    with Plane(folder) as plane:
        plane.start_provider()
        plane.start_agent()
        expect(plane, "authorization", "not activated")
        plane.activate()
        plane.stop("provider")
        for name in os.listdir(plane.path("provider")):
            if name.startswith("registry.db"):
                os.unlink(plane.path("provider", name))
        plane.start_provider()
        plane.restart_agent()
        plane.wait_error("not known here")
        expect(plane, "authorization", "not known here")


if __name__ == "__main__":
    if not FAKETIME:
        print("libfaketime is not installed")
        sys.exit(77)
    story((a_good_way_is_good, configuration, tls, clocks, provider, authorization))
