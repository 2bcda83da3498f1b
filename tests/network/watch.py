#!/usr/bin/python3 -B
"""Reports come every second while somebody looks and once a minute otherwise, by a new subscription
each time; `holdfast gateway watch` is somebody who looks."""

import json
import os
import re
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))
from plane import Plane  # noqa: E402
from story import check, free_ports, story, wait_until  # noqa: E402


def reports_follow_who_looks(folder):
    port, = free_ports(1)
    with Plane(folder, provider={"metrics_listen": f":{port}"}) as plane:
        def reports():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                return int(re.search(r"^holdfast_provider_reports_total (\d+)$",
                                     page.read().decode(), re.M).group(1))
        plane.start_provider()
        plane.start_agent()
        plane.activate()
        done = plane.run("holdfast", "gateway", "watch", "lab", "--timeout", "5", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        check(done.returncode == 0 and len(lines) in (5, 6), f"{len(lines)} lines")
        check(lines[-1]["connected"] and lines[-1]["report_interval_ms"] == 1000, lines[-1])
        text = plane.run("holdfast", "gateway", "watch", "lab", "--timeout", "1").stdout
        check("held  generation 1 of 1" in text, text)
        before, began = reports(), time.monotonic()
        wait_until("three more reports", lambda: reports() >= before + 3, 10)
        check(time.monotonic() - began < 6, "reports are slower than once a second")
        # Ten seconds after the last look it reports once a minute again: one report of the new
        # subscription, and then none.

        def is_still():
            count, seen = reports(), time.monotonic()
            wait_until("three seconds", lambda: time.monotonic() > seen + 3)
            return reports() == count
        wait_until("the reports to rest", is_still, 30)
        check(plane.run("holdfast", "gateway", "watch", "nobody").returncode == 4, "a stranger")


if __name__ == "__main__":
    story((reports_follow_who_looks,))
