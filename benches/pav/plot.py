"""Draws progress.svg from the figures of recipes/pav-toy.toml's arms: ARM-SEED.jsonl, lines of {step, found}: the share of a step's
samples that contain the hidden sequence. ARM is `outcome`, or `g` and the prover's strength. Standard library only.
Run: python plot.py
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import Chart, read_runs

COLOURS = ["#d55e00", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#cc79a7", "#000000"]
WIDTH, HEIGHT, LEFT, TOP = 320, 220, 50, 30

runs = read_runs(HERE)
arms = sorted(runs, key=lambda arm: -1 if arm == "outcome" else float(arm[1:]))
colour = {arm: "#888888" if arm == "outcome" else COLOURS[i % len(COLOURS)] for i, arm in enumerate(arms)}
last = max(line["step"] for lines in runs.values() for run in lines for line in run)

chart = Chart()
x0, y0 = LEFT, TOP + HEIGHT
chart.panel(x0, TOP, WIDTH, HEIGHT, "share of samples with the hidden sequence", last=last)
for arm in arms:
    for run in runs[arm]:
        chart.line([(x0 + WIDTH * l["step"] / last, y0 - HEIGHT * l["found"]) for l in run], colour[arm], 1.5)
for row, arm in enumerate(arms):
    label = "outcome alone" if arm == "outcome" else f"γ = {arm[1:]}"
    chart.text(x0 + WIDTH + 8, TOP + 14 + 15 * row, label, fill=colour[arm])

# The mean over all steps, against the prover's strength: high where the sequence is found early.
x1 = LEFT + WIDTH + 160
chart.text(x1, TOP - 10, "its mean over all steps, by strength")
chart.axes(x1, TOP, WIDTH, HEIGHT)
strengths = [arm for arm in arms if arm != "outcome"]
for place, arm in enumerate(strengths):
    x = x1 + WIDTH * (place + 0.5) / len(strengths)
    for mean in [sum(l["found"] for l in run) / len(run) for run in runs[arm]]:
        chart.dot(x, y0 - HEIGHT * mean, 3, colour[arm])
    chart.text(f"{x:.1f}", y0 + 16, arm[1:], "middle")
chart.write(HERE / "progress.svg", x1 + WIDTH + 20, y0 + 30)
for arm in arms:
    ends = [sum(l["found"] for l in run[-10:]) / len(run[-10:]) for run in runs[arm]]
    means = [sum(l["found"] for l in run) / len(run) for run in runs[arm]]
    first = [next((l["step"] for l in run if l["found"] >= 0.9), None) for run in runs[arm]]
    print(arm, "last ten steps", [round(e, 3) for e in ends], "mean", [round(m, 3) for m in means], "first at 90 %", first)
