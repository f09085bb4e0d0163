"""Draws ladder.svg from the evaluations of recipes/preference-ladder.toml: seed-SEED.jsonl, a run's evaluations.jsonl. Standard
library only. Run: python plot.py
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import COLOURS, Chart, read

ARMS = ["sft", "rft", "rft-again", "outcome", "outcome-nll", "first-error", "siblings"]
WIDTH, HEIGHT, LEFT, TOP, GROUP = 700, 260, 50, 20, 92


def y(share):
    return TOP + HEIGHT * (1 - share)


chart = Chart()
chart.axes(LEFT, TOP, GROUP * len(ARMS), HEIGHT)
for share in (0, 0.25, 0.5, 0.75, 1):
    chart.text(LEFT - 6, y(share) + 4, f"{share:.0%}", "end")
for number, path in enumerate(sorted(HERE.glob("seed-*.jsonl"))):
    reports = {line["stage"].removesuffix("-held-out"): line["report"] for line in read(path)}
    for place, arm in enumerate(ARMS):
        x = LEFT + GROUP * place + 14 + 22 * number
        accuracy, (low, high) = reports[arm]["accuracy"], reports[arm]["interval"]
        chart.bar(x, y(accuracy), 18, HEIGHT * accuracy, COLOURS[number])
        chart.upright(x + 9, y(low), y(high))
    chart.text(LEFT + 20 + 70 * number, TOP + HEIGHT + 36, path.stem, fill=COLOURS[number])
for place, arm in enumerate(ARMS):
    chart.text(LEFT + GROUP * place + 45, TOP + HEIGHT + 16, arm, "middle")
chart.write(HERE / "ladder.svg", WIDTH + 20, TOP + HEIGHT + 44)
