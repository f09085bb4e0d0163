"""Draws progress.svg from SEED-flow.jsonl, a line a step: the share of a step's 16 questions that the flow answers right before it
learns from them, as the mean of 25 steps, and the mean since the first (the paper's progressive validation). Standard library only.
Run: python plot.py
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
COLOURS = ["#0072b2", "#d55e00", "#009e73"]
WIDTH, HEIGHT, LEFT, TOP, WINDOW = 420, 200, 50, 20, 25

out = [f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="black"/>',
       f'<text x="{LEFT}" y="{TOP + HEIGHT + 18}">questions: 0</text>']
for share in (0, 0.25, 0.5, 0.75):
    out.append(f'<text x="{LEFT - 6}" y="{TOP + HEIGHT * (1 - share / 0.75) + 4:.0f}" text-anchor="end">{share:.0%}</text>')
for seed, path in enumerate(sorted(HERE.glob("[0-9]-flow.jsonl"))):
    right = [json.loads(line)["accuracy"] for line in path.read_text().splitlines()]
    steps = range(len(right))
    since = [sum(right[: at + 1]) / (at + 1) for at in steps]
    recent = [sum(right[max(0, at + 1 - WINDOW) : at + 1]) / min(WINDOW, at + 1) for at in steps]
    for line, dashes in ((since, ""), (recent, ' stroke-dasharray="4 3"')):
        points = " ".join(f"{LEFT + WIDTH * (at + 1) / len(right):.1f},{TOP + HEIGHT * (1 - y / 0.75):.1f}" for at, y in enumerate(line))
        out.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[seed]}" stroke-width="2"{dashes}/>')
    out.append(f'<text x="{LEFT + WIDTH + 10}" y="{TOP + 20 + 18 * seed}" fill="{COLOURS[seed]}">seed {seed}</text>')
    last = f'<text x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 18}" text-anchor="end">{16 * len(right)}</text>'
out += [last, f'<text x="{LEFT + 150}" y="{TOP + HEIGHT + 18}">whole: since the first; dashed: last {WINDOW} steps</text>']
(HERE / "progress.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 80}" height="{TOP + HEIGHT + 30}" font-family="sans-serif" '
    'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")
