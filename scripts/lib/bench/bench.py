"""Measures Holdfast and its peers in interleaved rounds of one run, and reports medians.

A round measures every side of a scenario, in an order of its own; figures are made within a round.
A sample during which other programs kept the processors busy is taken again at once; a round in
which that did not help, or in which the hypervisor took more than its limit of the processors'
time, is rejected.
Uploads run during every scenario that does not say otherwise. A table goes to standard output, a
plot to build/bench/bars.svg, everything to build/bench/SCENARIO.json.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import layout as lay  # noqa: E402
import machine  # noqa: E402
import plot  # noqa: E402
from lab import LabError  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from sides import World  # noqa: E402

FOLDER = os.path.join(lay.TOP, "build", "bench")
# Fixed, never fitted to a result: shares of the machine during one sample.
STEAL_LIMIT = 0.05  # of all processors' time
OTHERS_LIMIT = 0.5  # processors busy with work of others
TRIES_PER_SAMPLE = 3
TRIES_PER_ROUND = 3


def take_sample(world, side, seconds, alone):
    """The first sample that others left alone, or the last one tried."""
    for _ in range(TRIES_PER_SAMPLE if alone else 1):
        sample = side(world, seconds)
        sample["quiet"] = sample.get("others_cpus", 0) <= OTHERS_LIMIT
        if sample["quiet"]:
            break
    return sample


def measure_round(world, scenario, args, rng):
    """{side: sample}, and why the round does not count, if it does not."""
    samples = {}
    order = list(scenario.sides)
    rng.shuffle(order)
    for name in order:
        samples[name] = take_sample(world, scenario.sides[name], args.seconds, not args.shared)
    steal = max(s["cpu"]["steal"] / s["cpu"]["all"] for s in samples.values())
    if steal > STEAL_LIMIT:
        return samples, f"{100 * steal:.0f} % stolen"
    noisy = [name for name, s in samples.items() if not s["quiet"]]
    return samples, "not alone: " + ", ".join(noisy) if noisy and not args.shared else None


def measure(world, scenario, args, rng):
    """The rounds that count, and those that do not."""
    kept, rejected = [], []
    print(f"{scenario.name}: {scenario.text}", flush=True)
    try:
        scenario.prepare(world)
        while len(kept) < args.rounds and len(rejected) < args.rounds * (TRIES_PER_ROUND - 1):
            samples, reason = measure_round(world, scenario, args, rng)
            (rejected if reason else kept).append(samples)
            print(f"  {len(kept)} of {args.rounds}" + (f", rejected: {reason}" if reason else ""),
                  flush=True)
    finally:
        scenario.finish(world)
    return kept, rejected


def figures(scenario, rounds):
    measures = []
    for figure in scenario.figures:
        values = [figure.value(samples) for samples in rounds]
        value = statistics.median(values)
        measures.append({"name": figure.name, "value": value, "unit": figure.unit,
                         "bar": figure.bar(), "holds": figure.holds(value),
                         "min": min(values), "max": max(values), "rounds": len(values),
                         "values": values})
    return measures


def print_table(measures):
    def number(value):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    print("\n| measure | median | min–max | bar | holds |\n| --- | --- | --- | --- | --- |")
    for m in measures:
        holds = {True: "yes", False: "**no**", None: ""}[m["holds"]]
        unit = "" if m["unit"] == "ratio" else " " + m["unit"]
        print(f"| {m['name']} | {number(m['value'])}{unit} | {number(m['min'])}–"
              f"{number(m['max'])} | {m['bar'] or ''} | {holds} |")


def others_cpus(rounds):
    """Processors that were busy with something that is no part of the measure, in the median. What
    the kernel did for the measure outside its processes counts as well."""
    values = [s["others_cpus"] for samples in rounds for s in samples.values()
              if "others_cpus" in s]
    return statistics.median(values) if values else None


def run_one(world, scenario, args, rng):
    """Its measures; all that was seen goes to a file, whether or not it counts."""
    facts = machine.facts()
    rounds, rejected = measure(world, scenario, args, rng)
    facts.update(load_average_after=os.getloadavg(), others_cpus=others_cpus(rounds),
                 rejected_rounds=len(rejected), steal_limit=STEAL_LIMIT,
                 others_limit_cpus=None if args.shared else OTHERS_LIMIT)
    measures = figures(scenario, rounds) if rounds else []
    lay.write_json(os.path.join(FOLDER, scenario.name + ".json"), {
        "measures": measures, "samples": rounds, "rejected": rejected, "machine": facts,
        "seconds": args.seconds, "seed": args.seed, "text": scenario.text})
    if not rounds:
        print("  the machine was never quiet enough", flush=True)
    elif facts["others_cpus"] is not None:
        print(f"  other work took {facts['others_cpus']:.2f} processors", flush=True)
    return measures


def run(world, scenarios, args):
    rng = random.Random(args.seed)
    measures = []
    os.makedirs(FOLDER, exist_ok=True)
    try:
        for scenario in scenarios:
            measures += run_one(world, scenario, args, rng)
    finally:
        print_table(measures)
        plot.write(os.path.join(FOLDER, "bars.svg"), measures)


def parse():
    listing = "\n".join(f"  {s.name:10} {s.text}" for s in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, epilog="names:\n" + listing,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="that count, of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each sample (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default: 1)")
    parser.add_argument("--shared", action="store_true", help="rounds count although other "
                        "programs were busy; what they took is in the files")
    args = parser.parse_args()
    unknown = set(args.names) - {s.name for s in SCENARIOS}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return args, [s for s in SCENARIOS if not args.names or s.name in args.names]


def main():
    args, scenarios = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    world = World()
    try:
        world.start()
        run(world, scenarios, args)
    except (LabError, subprocess.SubprocessError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        world.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
