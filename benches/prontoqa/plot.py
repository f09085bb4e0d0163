"""Draws by-n.svg, accuracy on held-out questions against the number of chains, from reader-*.jsonl, which best_of_n.py prints: the
mean over seeds, and each seed's points. Standard library only. Run: python plot.py
"""

import collections
import json
import pathlib
import statistics

HERE = pathlib.Path(__file__).resolve().parent
LINES = [("cot", "majority", "majority vote", "#888888"), ("cot", "best", "best of n, chains as sampled", "#d55e00"),
         ("echo", "best", "best of n, with echoed chains", "#0072b2"), ("cot", "weighted", "weighted vote, as sampled", "#e69f00"),
         ("echo", "weighted", "weighted vote, with echoed chains", "#009e73")]
WIDTH, HEIGHT, LEFT, TOP = 420, 260, 50, 20

found = collections.defaultdict(list)
for path in sorted(HERE.glob("reader-*.jsonl")):
    for line in map(json.loads, path.read_text().splitlines()):
        for kind in ("majority", "best", "weighted"):
            if kind in line:
                found[line["orm"], kind, line["n"]].append(line[kind][0])
numbers = sorted({n for _, _, n in found})
low = int(min(min(values) for values in found.values()) * 20) / 20
x = lambda n: LEFT + WIDTH * numbers.index(n) / (len(numbers) - 1)
y = lambda value: TOP + HEIGHT * (1 - (value - low) / (1 - low))

out = [f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="black"/>',
       f'<text x="{LEFT - 6}" y="{TOP + 5}" text-anchor="end">100 %</text>',
       f'<text x="{LEFT - 6}" y="{TOP + HEIGHT}" text-anchor="end">{100 * low:.0f} %</text>']
out += [f'<text x="{x(n):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{n}</text>' for n in numbers]
for row, (orm, kind, title, colour) in enumerate(LINES):
    means = [(n, statistics.mean(found[orm, kind, n])) for n in numbers]
    place = " ".join(f"{x(n):.1f},{y(mean):.1f}" for n, mean in means)
    out.append(f'<polyline points="{place}" fill="none" stroke="{colour}" stroke-width="2"/>')
    points = [(n, value) for n in numbers for value in found[orm, kind, n]]
    out += [f'<circle cx="{x(n):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>' for n, value in points]
    out.append(f'<text x="{LEFT + WIDTH + 12}" y="{TOP + 16 + 18 * row}" fill="{colour}">{title}</text>')
size = f'width="{LEFT + WIDTH + 250}" height="{TOP + HEIGHT + 30}"'
style = 'font-family="sans-serif" font-size="12"'
(HERE / "by-n.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<rect width="100%" height="100%" fill="white"/>\n'
    + "\n".join(out) + "\n</svg>\n")
