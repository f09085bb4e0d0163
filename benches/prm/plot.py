"""Draws hacking.svg from the figures of recipes/prm-grpo-arithmetic.toml's arms: FORM-SEED.jsonl, the lines of a run's
metrics.jsonl. Standard library only. Run: python plot.py
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import Chart, read_runs

COLOURS = {"none": "#888888", "sum": "#d55e00", "min": "#0072b2", "clip_delta": "#009e73"}
PANELS = [("eval/accuracy", "held-out accuracy", 1.0), ("steps/score", "mean score of a step", 1.0)]
WIDTH, HEIGHT, LEFT, TOP = 300, 200, 50, 30

runs = read_runs(HERE)
chart = Chart()
for number, (key, title, top) in enumerate(PANELS):
    series = [(form, [(l["step"], l[key]) for l in lines if key in l]) for form, all in runs.items() for lines in all]
    most = top or max(value for _, points in series for _, value in points) or 1.0
    last = max(step for _, points in series for step, _ in points)
    x0, y0 = LEFT + number * (WIDTH + LEFT + 20), TOP + HEIGHT
    chart.panel(x0, TOP, WIDTH, HEIGHT, title, f"{most:.3g}", last)
    for form, points in series:
        chart.line([(x0 + WIDTH * step / last, y0 - HEIGHT * value / most) for step, value in points], COLOURS[form])
for row, form in enumerate(runs):
    chart.text(LEFT + 10, TOP + HEIGHT - 50 + 16 * row, form, fill=COLOURS[form])
chart.write(HERE / "hacking.svg", 2 * (WIDTH + LEFT + 20) + 20, TOP + HEIGHT + 30)
