"""Draws by-n.svg, accuracy on held-out questions against the number of chains, from reader-*.jsonl, which best_of_n.py prints: the
mean over seeds, and each seed's points. Standard library only. Run: python plot.py
"""

import collections
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import Chart, read

LINES = [("cot", "majority", "majority vote", "#888888"), ("cot", "best", "best of n, chains as sampled", "#d55e00"),
         ("echo", "best", "best of n, with echoed chains", "#0072b2"), ("cot", "weighted", "weighted vote, as sampled", "#e69f00"),
         ("echo", "weighted", "weighted vote, with echoed chains", "#009e73")]
WIDTH, HEIGHT, LEFT, TOP = 420, 260, 50, 20

found = collections.defaultdict(list)
for path in sorted(HERE.glob("reader-*.jsonl")):
    for line in read(path):
        for kind in ("majority", "best", "weighted"):
            if kind in line:
                found[line["orm"], kind, line["n"]].append(line[kind][0])
numbers = sorted({n for _, _, n in found})
low = int(min(min(values) for values in found.values()) * 20) / 20


def place(n, value):
    return LEFT + WIDTH * numbers.index(n) / (len(numbers) - 1), TOP + HEIGHT * (1 - (value - low) / (1 - low))


chart = Chart()
chart.axes(LEFT, TOP, WIDTH, HEIGHT)
chart.text(LEFT - 6, TOP + 5, "100 %", "end")
chart.text(LEFT - 6, TOP + HEIGHT, f"{100 * low:.0f} %", "end")
for n in numbers:
    chart.text(f"{place(n, low)[0]:.1f}", TOP + HEIGHT + 16, n, "middle")
for row, (orm, kind, title, colour) in enumerate(LINES):
    chart.line([place(n, statistics.mean(found[orm, kind, n])) for n in numbers], colour)
    for n in numbers:
        for value in found[orm, kind, n]:
            chart.dot(*place(n, value), 2.5, colour)
    chart.text(LEFT + WIDTH + 12, TOP + 16 + 18 * row, title, fill=colour)
chart.write(HERE / "by-n.svg", LEFT + WIDTH + 250, TOP + HEIGHT + 30)
