"""A picture of one run: each measure that has a bar, a line each, as multiples of its bar on a
logarithmic scale. Right of the line at 1 the bar is kept, whichever way it points; a dot is a round,
the thick mark the median. Plain SVG, no library."""

import math
from xml.sax.saxutils import escape

LEFT, WIDTH, ROW, TOP = 330, 900, 22, 34  # pixels; LEFT: room for the names
SCALE = (0.25, 4)
TICKS = (0.25, 0.5, 1, 2, 4)
STYLE = ("text{font:12px sans-serif;fill:#222}.tick{fill:#777}.grid{stroke:#ddd}"
         ".bar{stroke:#222;stroke-width:1.5}.round{fill:#8899bb;fill-opacity:.7}"
         ".yes{stroke:#2a7d3b;stroke-width:4}.no{stroke:#b3261e;stroke-width:4}")


def x_of(times_bar):
    low, high = (math.log(s) for s in SCALE)
    at = (math.log(min(max(times_bar, SCALE[0]), SCALE[1])) - low) / (high - low)
    return LEFT + at * (WIDTH - LEFT - 20)


def times_bar(measure, value):
    """How many times better than its bar."""
    sign, bar = measure["bar"].split()
    bar = float(bar)
    if sign == ">=":
        return value / bar
    return bar / value if value else SCALE[1]


def line(css, x1, y1, x2, y2):
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}"/>'


def row(measure, y):
    median = x_of(times_bar(measure, measure["value"]))
    yield f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(measure["name"])}</text>'
    for value in measure["values"]:
        x = x_of(times_bar(measure, value))
        yield f'<circle class="round" cx="{x:.1f}" cy="{y}" r="3.5"/>'
    yield line("yes" if measure["holds"] else "no", median, y - 8, median, y + 8)


def picture(measures):
    """The text of an SVG file; None if no measure has a bar above 0."""
    rows = [m for m in measures if m["bar"] and float(m["bar"].split()[1]) > 0]
    if not rows:
        return None
    bottom = TOP + ROW * len(rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 20}">',
             f"<style>{STYLE}</style>",
             f'<text class="tick" x="{LEFT - 10}" y="16" text-anchor="end">times its bar</text>']
    for tick in TICKS:
        x = x_of(tick)
        parts.append(f'<text class="tick" x="{x:.1f}" y="16" text-anchor="middle">{tick:g}</text>')
        parts.append(line("bar" if tick == 1 else "grid", x, 22, x, bottom))
    for i, measure in enumerate(rows):
        parts += row(measure, TOP + ROW * i + 4)
    return "\n".join(parts + ["</svg>", ""])


def write(path, measures):
    text = picture(measures)
    if text:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
