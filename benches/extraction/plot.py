"""Draws plausibility.svg from figures.json: of each weight of the contrast how well labels are told (upwards) and how well words are ranked that people marked (AUPRC,
to the right); a seed is a line from weight to weight, and what no other weight of its seed is better than in both is filled. Standard library only.
Run: python plot.py
"""

import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import COLOURS, Chart

WIDTH, HEIGHT, LEFT, TOP = 420, 200, 60, 30

found = json.loads((HERE / "figures.json").read_text())["plausibility"]
arms = {name.removeprefix("weight-").replace("01", "0.1").replace("03", "0.3"): of for name, of in found.items() if name.startswith("weight-")}
seeds = sorted(next(iter(arms.values()))["held_out/figures/accuracy"])
points = {seed: [(weight, of["held_out/figures/rationale/auprc"][seed], of["held_out/figures/accuracy"][seed]) for weight, of in arms.items()] for seed in seeds}
every = [point for seed in seeds for point in points[seed]]


def scale(values, parts):
    """From the least to the greatest in whole parts of 1, one of them at least."""
    low, high = math.floor(min(values) * parts), math.ceil(max(values) * parts)
    return low / parts, max(high, low + 1) / parts


(left, right), (low, high) = scale([x for _, x, _ in every], 20), scale([y for _, _, y in every], 50)
place = lambda x, y: (LEFT + WIDTH * (x - left) / (right - left), TOP + HEIGHT * (high - y) / (high - low))

chart = Chart()
chart.text(LEFT, TOP - 12, "labels that are told rightly, over AUPRC of the marked words, by weight of the contrast")
chart.axes(LEFT, TOP, WIDTH, HEIGHT)
for y in (low, high):
    chart.text(LEFT - 6, round(place(left, y)[1]) + 4, f"{y:.0%}", "end")
for x in (left, right):
    chart.text(round(place(x, low)[0]), TOP + HEIGHT + 18, f"{x:.2f}", "middle")
for colour, seed in zip(COLOURS, seeds):
    own = points[seed]
    chart.line([place(x, y) for _, x, y in own], colour, width=1, dashes="3 3")
    for weight, x, y in own:
        beaten = any((a >= x and b >= y) and (a > x or b > y) for _, a, b in own)
        at = place(x, y)
        chart.dot(*at, 5, colour)
        if beaten:
            chart.dot(*at, 3, "white")
        chart.text(round(at[0]) + 7, round(at[1]) + 14, weight, fill=colour)
    chart.text(LEFT + WIDTH + 12, TOP + 20 + 18 * seeds.index(seed), f"seed {seed}", fill=colour)
chart.write(HERE / "plausibility.svg", WIDTH + LEFT + 90, TOP + HEIGHT + 30)
