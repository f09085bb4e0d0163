"""Draws progress.svg from the figures of recipes/pav-toy.toml's arms: ARM-SEED.jsonl, lines of {step, found}: the share of a step's
samples that contain the hidden sequence. ARM is `outcome`, or `g` and the prover's strength. Standard library only.
Run: python plot.py
"""

import collections
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
COLOURS = ["#d55e00", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#cc79a7", "#000000"]
WIDTH, HEIGHT, LEFT, TOP = 320, 220, 50, 30

runs = collections.defaultdict(list)
for path in sorted(HERE.glob("*-*.jsonl")):
    runs[path.stem.rsplit("-", 1)[0]].append([json.loads(line) for line in path.read_text().splitlines()])
arms = sorted(runs, key=lambda arm: -1 if arm == "outcome" else float(arm[1:]))
colour = {arm: "#888888" if arm == "outcome" else COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
last = max(line["step"] for lines in runs.values() for run in lines for line in run)

out = [f'<text x="{LEFT}" y="{TOP - 10}">share of samples with the hidden sequence</text>']
x0, y0 = LEFT, TOP + HEIGHT
out.append(f'<path d="M{x0} {TOP}V{y0}H{x0 + WIDTH}" fill="none" stroke="black"/>')
out.append(f'<text x="{x0 - 6}" y="{TOP + 5}" text-anchor="end">1</text><text x="{x0 - 6}" y="{y0}" text-anchor="end">0</text>')
out.append(f'<text x="{x0 + WIDTH}" y="{y0 + 16}" text-anchor="end">step {last}</text>')
for arm in arms:
    for run in runs[arm]:
        place = " ".join(f"{x0 + WIDTH * l['step'] / last:.1f},{y0 - HEIGHT * l['found']:.1f}" for l in run)
        out.append(f'<polyline points="{place}" fill="none" stroke="{colour[arm]}" stroke-width="1.5"/>')
for row, arm in enumerate(arms):
    label = "outcome alone" if arm == "outcome" else f"γ = {arm[1:]}"
    out.append(f'<text x="{x0 + WIDTH + 8}" y="{TOP + 14 + 15 * row}" fill="{colour[arm]}">{label}</text>')

# The mean over all steps, against the prover's strength: high where the sequence is found early.
x1 = LEFT + WIDTH + 160
out.append(f'<text x="{x1}" y="{TOP - 10}">its mean over all steps, by strength</text>')
out.append(f'<path d="M{x1} {TOP}V{y0}H{x1 + WIDTH}" fill="none" stroke="black"/>')
strengths = [arm for arm in arms if arm != "outcome"]
for place, arm in enumerate(strengths):
    x = x1 + WIDTH * (place + 0.5) / len(strengths)
    means = [sum(l["found"] for l in run) / len(run) for run in runs[arm]]
    for mean in means:
        out.append(f'<circle cx="{x:.1f}" cy="{y0 - HEIGHT * mean:.1f}" r="3" fill="{colour[arm]}"/>')
    out.append(f'<text x="{x:.1f}" y="{y0 + 16}" text-anchor="middle">{arm[1:]}</text>')
size = f'width="{x1 + WIDTH + 20}" height="{y0 + 30}"'
style = 'font-family="sans-serif" font-size="12"'
(HERE / "progress.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<rect width="100%" height="100%" fill="white"/>\n'
    + "\n".join(out) + "\n</svg>\n")
for arm in arms:
    ends = [sum(l["found"] for l in run[-10:]) / len(run[-10:]) for run in runs[arm]]
    means = [sum(l["found"] for l in run) / len(run) for run in runs[arm]]
    first = [next((l["step"] for l in run if l["found"] >= 0.9), None) for run in runs[arm]]
    print(arm, "last ten steps", [round(e, 3) for e in ends], "mean", [round(m, 3) for m in means], "first at 90 %", first)
