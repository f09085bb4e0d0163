"""Draws progress.svg from SEED-flow.jsonl, a line a step: the share of a step's 16 questions that the flow answers right before it
learns from them, as the mean of 25 steps, and the mean since the first (the paper's progressive validation). Standard library only.
Run: python plot.py
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import COLOURS, Chart, read

WIDTH, HEIGHT, LEFT, TOP, WINDOW = 420, 200, 50, 20, 25

chart = Chart()
chart.axes(LEFT, TOP, WIDTH, HEIGHT)
chart.text(LEFT, TOP + HEIGHT + 18, "questions: 0")
for share in (0, 0.25, 0.5, 0.75):
    chart.text(LEFT - 6, f"{TOP + HEIGHT * (1 - share / 0.75) + 4:.0f}", f"{share:.0%}", "end")
for seed, path in enumerate(sorted(HERE.glob("[0-9]-flow.jsonl"))):
    right = [line["accuracy"] for line in read(path)]
    steps = range(len(right))
    since = [sum(right[: at + 1]) / (at + 1) for at in steps]
    recent = [sum(right[max(0, at + 1 - WINDOW) : at + 1]) / min(WINDOW, at + 1) for at in steps]
    for line, dashes in ((since, None), (recent, "4 3")):
        points = [(LEFT + WIDTH * (at + 1) / len(right), TOP + HEIGHT * (1 - y / 0.75)) for at, y in enumerate(line)]
        chart.line(points, COLOURS[seed], dashes=dashes)
    chart.text(LEFT + WIDTH + 10, TOP + 20 + 18 * seed, f"seed {seed}", fill=COLOURS[seed])
chart.text(LEFT + WIDTH, TOP + HEIGHT + 18, 16 * len(right), "end")
chart.text(LEFT + 150, TOP + HEIGHT + 18, f"whole: since the first; dashed: last {WINDOW} steps")
chart.write(HERE / "progress.svg", WIDTH + LEFT + 80, TOP + HEIGHT + 30)
