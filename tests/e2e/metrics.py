#!/usr/bin/python3 -B
"""The pages for Prometheus of provider and gateway, on real parts: names, types and help are clean
(`promtool check metrics`), figures follow what happens, a part that is away is told so and its
figures are left out, and what is no request for the page gets a clear answer (invariant 9). Events
of alarms, volumes and processes arrive numbered, and again at a provider that was restarted."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from harness import LabError, create, holdfast, must, wait_until  # noqa: E402
import layout as lay  # noqa: E402


def check(condition, text):
    if not condition:
        raise LabError(text)


class Page:
    def __init__(self, lab, name):
        self.address = lay.address(lab.spec, name)
        self.url = f"http://{self.address}/metrics"

    def text(self):
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            check("version=0.0.4" in answer.headers["content-type"], answer.headers)
            return answer.read().decode()

    def value(self, series):
        """Of a series as it stands there, None if it does not."""
        found = re.search("^" + re.escape(series) + r" (\S+)$", self.text(), re.M)
        return float(found.group(1)) if found else None

    def status_of(self, method, path):
        request = urllib.request.Request(f"http://{self.address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code


def check_clean(page):
    done = subprocess.run(["promtool", "check", "metrics"], input=page.text(), text=True,
                          capture_output=True, check=False)
    said = done.stdout + done.stderr
    check(done.returncode == 0 and not said.strip(), f"promtool on {page.url}: {said}")


def check_bad_requests(page):
    check(page.status_of("GET", "/") == 404, "another path")
    check(page.status_of("GET", "/metrics/../../etc/passwd") in (403, 404), "a path upwards")
    check(page.status_of("POST", "/metrics") in (404, 405), "another method")
    host, port = page.address.split(":")
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET /" + b"x" * 20000 + b"\r\n\r\n",
                    b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 5000):
        with socket.create_connection((host, int(port)), 10) as s:
            try:
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass  # it hung up at once, which is as good an answer
    silent = [socket.create_connection((host, int(port)), 10) for _ in range(20)]
    check(page.status_of("GET", "/metrics") == 200, "not served beside silent clients")
    for s in silent:
        s.close()


def check_provider(page):
    check(page.value('holdfast_provider_connections{state="held"}') == 1, "one gateway is held")
    check(page.value("holdfast_provider_grants_total") >= 1, "an epoch was granted")
    check(page.value('holdfast_provider_handshakes_total{result="good"}') >= 1, "a handshake")
    check(page.value('holdfast_provider_requests_total{kind="apply",result="good"}') >= 1,
          "a document was applied")
    check(page.value("holdfast_provider_request_seconds_count") >= 2, "answers took their time")
    check(page.value("holdfast_provider_registry_errors_total") == 0, "the registry had errors")
    reports = page.value("holdfast_provider_reports_total")
    wait_until("a report", lambda: page.value("holdfast_provider_reports_total") > reports, 90)


def kinds(lab):
    return [e["kind"] for e in lab.ask("holdfast", "gateway", "events", "lab")]


def check_gateway(lab, page, volume):
    label = f'{{volume="{volume["volume_id"]}"}}'
    check(page.value("holdfast_gateway_connection_held") == 1, "it is held")
    check(page.value("holdfast_volume_size_bytes" + label) == 64 << 20, "the volume's size")
    must(volume, "write -P 5 0 8M", "flush")
    wait_until("the writes to be counted", lambda: page.value(
        "holdfast_volume_write_bytes_total" + label) >= 8 << 20)
    wait_until("the recovery point", lambda: page.value(
        "holdfast_volume_recovery_point_lag_bytes" + label) == 0 and page.value(
            "holdfast_volume_uploaded_bytes_total" + label) > 0)
    check(page.value("holdfast_gateway_buffer_bytes") > 0, "the buffer's size")
    pid = lab.status()["pids"]["holdfast-volumed"]
    os.kill(pid, signal.SIGSTOP)  # it is there, and does not answer
    try:
        wait_until("its absence", lambda: page.value("holdfast_gateway_volumed_up") == 0)
        check(page.value("holdfast_gateway_buffer_bytes") is None, "old figures are told")
        check_clean(page)
        wait_until("the event of it", lambda: "volumed.away" in kinds(lab))
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("its return", lambda: page.value("holdfast_gateway_volumed_up") == 1)


def check_events(lab, volume):
    """volumed stopped and came back meanwhile."""
    wait_until("the events", lambda: {"agent.started", "volumed.away", "volumed.back",
                                      "volume.state"} <= set(kinds(lab)))
    events = lab.ask("holdfast", "gateway", "events", "lab")
    numbers = [e["number"] for e in events]
    check(numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"gaps: {numbers}")
    check(any(e["volume_id"] == volume["volume_id"] and "available" in e["text"]
              for e in events), f"{events}")
    # A provider that knows nothing of them is told again.
    os.kill(lab.status()["pids"]["holdfast-provider"], signal.SIGKILL)
    wait_until("the events again", lambda: lab.works("holdfast", "gateway", "events", "lab") and
               [e["number"] for e in lab.ask("holdfast", "gateway", "events", "lab")][
                   :len(numbers)] == numbers)
    check("agent.started" in lab.command("holdfast", "gateway", "events", "lab"), "as a table")


def main():
    if not shutil.which("promtool"):
        print("promtool (package prometheus) is not installed")
        return 77
    with holdfast() as lab:
        provider, gateway = Page(lab, "provider_metrics"), Page(lab, "gateway_metrics")
        volume = create(lab, "measured")
        for page in (provider, gateway):
            check_clean(page)
            check_bad_requests(page)
        print("both pages are clean, bad requests are refused")
        check_provider(provider)
        check_gateway(lab, gateway, volume)
        print("figures follow what happens")
        check_events(lab, volume)
        print("events are numbered, and told again to who does not know them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
