#!/usr/bin/python3 -B
"""Draws docs/design/back-pressure.svg from sim_pressure's course: what is left of the log, how fast
the client writes, and the longest command, over the time the store is away.

Usage: tests/sim/plot_pressure.py BUILD/tests/sim_pressure > docs/design/back-pressure.svg
"""

import csv
import subprocess
import sys

WIDTH, HEIGHT, LEFT, TOP, GAP = 720, 150, 70, 30, 50
PANELS = (("left of the log, MiB", "#1b6ca8"), ("written, MiB/s (logarithmic)", "#2e7d32"),
          ("longest command, s", "#b23b3b"))


def course(program, name):
    out = subprocess.run([program, name, "--csv"], capture_output=True, text=True, check=True)
    rows = [r for r in csv.DictReader(out.stdout.splitlines())]
    seconds = [int(r["second"]) for r in rows]
    left = [int(r["free"]) / 2**20 for r in rows]
    written = [int(r["written"]) / 2**20 for r in rows]
    step = 10
    rate = [max(1e-3, (written[i] - written[max(0, i - step)]) / min(step, i or 1))
            for i in range(len(rows))]
    longest = [int(r["worst_ms"]) / 1000 for r in rows]
    for i in range(1, len(longest)):  # no command ended in a second: the one before stands
        longest[i] = longest[i] or longest[i - 1]
    return seconds, (left, rate, longest)


def log10(value):
    import math
    return math.log10(value)


def panel(index, seconds, values, label, colour):
    top = TOP + index * (HEIGHT + GAP)
    scaled = [log10(v) for v in values] if index == 1 else values
    low, high = (-3, 2) if index == 1 else (0, max(scaled) * 1.05)
    last = seconds[-1]
    points = " ".join(f"{LEFT + WIDTH * s / last:.1f},"
                      f"{top + HEIGHT - HEIGHT * (v - low) / (high - low):.1f}"
                      for s, v in zip(seconds, scaled))
    marks = []
    for k in range(6):
        at = low + (high - low) * k / 5
        text = f"{10 ** at:g}" if index == 1 else f"{at:.0f}"
        y = top + HEIGHT - HEIGHT * k / 5
        marks.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDTH}" y2="{y:.1f}" '
                     f'stroke="#ddd"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
                     f'text-anchor="end">{text}</text>')
    for minute in range(0, last // 60 + 1, 2):
        x = LEFT + WIDTH * minute * 60 / last
        marks.append(f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">'
                     f'{minute} min</text>')
    return (f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{label}</text>' + "".join(marks) +
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')


def main():
    seconds, series = course(sys.argv[1], "small")
    height = TOP + 3 * (HEIGHT + GAP)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" '
          f'height="{height}" font-family="sans-serif" font-size="11">'
          '<rect width="100%" height="100%" fill="white"/>')
    for index, (label, colour) in enumerate(PANELS):
        print(panel(index, seconds, series[index], label, colour))
    print("</svg>")


main()
