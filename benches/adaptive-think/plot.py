"""Draws accuracy.svg from figures.json: of each rule accuracy (upwards) over the tokens that are left (to the right), a line a seed; dashed, fixed cuts of as many tokens.
Standard library only.
Run: python plot.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import COLOURS, Chart

WIDTH, HEIGHT, LEFT, TOP, MOST = 420, 200, 60, 34, 70

runs = [run for run in json.loads((HERE / "figures.json").read_text()) if run["recipe"] == "as it stands"]
chart = Chart()
chart.text(LEFT, TOP - 14, "right over tokens: ended where it is sure, dashed: by fixed cuts")
chart.axes(LEFT, TOP, WIDTH, HEIGHT)
for share in (0, 0.5, 1):
    chart.text(LEFT - 6, TOP + HEIGHT * (1 - share) + 4, f"{share:.0%}", "end")
for tokens in (0, 35, 70):
    chart.text(LEFT + WIDTH * tokens / MOST, TOP + HEIGHT + 16, tokens, "middle")
place = lambda tokens, share: (LEFT + WIDTH * tokens / MOST, TOP + HEIGHT * (1 - share))
for colour, run in zip(COLOURS, runs):
    adaptive = [one for one in run["stopping"] if one["rule"] == "whole" or "alpha" in one["rule"]]
    chart.line([place(one["tokens"], one["accuracy"]) for one in adaptive], colour)
    for one in adaptive:
        chart.dot(*place(one["tokens"], one["accuracy"]), 3, colour)
    chart.line([place(one["tokens"], one["fixed"]) for one in adaptive if "fixed" in one], colour, width=1, dashes="4 3")
    chart.text(LEFT + WIDTH + 10, TOP + 20 + 18 * runs.index(run), f"seed {run['seed']}", fill=colour)
chart.write(HERE / "accuracy.svg", LEFT + WIDTH + 80, TOP + HEIGHT + 28)
