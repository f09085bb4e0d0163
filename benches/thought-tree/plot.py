"""Draws marks.svg from SEED.jsonl, the lines of a run's evaluations.jsonl: accuracy, macro-F1 and quadratic weighted kappa after the
warm-up, after SFT on all paths, after SFT on those that come to the human mark, and from there after more of that or after DPO. Standard library only. Run: python plot.py
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import COLOURS, Chart, read

STAGES = [("warmup", "warm-up"), ("sft-all-marks", "on all"), ("sft-marks", "SFT"), ("sft-again-marks", "more SFT"), ("dpo-marks", "DPO")]
PANELS = [("accuracy", lambda r: r["accuracy"]), ("macro-F1", lambda r: r["agreement"]["macro_f1"]),
          ("quadratic weighted kappa", lambda r: r["agreement"]["kappa"])]
WIDTH, HEIGHT, LEFT, TOP = 300, 180, 45, 30

runs = []
for path in sorted(HERE.glob("[0-9].jsonl")):
    lines = read(path)
    runs.append([[l["report"] for l in lines if l["stage"] == stage][-1] for stage, _ in STAGES])

chart = Chart()
for number, (title, value) in enumerate(PANELS):
    x0, y0 = LEFT + number * (WIDTH + LEFT), TOP + HEIGHT
    chart.panel(x0, TOP, WIDTH, HEIGHT, title)
    places = [x0 + 30 + at * (WIDTH - 60) / (len(STAGES) - 1) for at in range(len(STAGES))]
    for x, (_, name) in zip(places, STAGES):
        chart.text(x, y0 + 16, name, "middle")
    for seed, run in enumerate(runs):
        chart.line([(x, y0 - HEIGHT * value(report)) for x, report in zip(places, run)], COLOURS[seed])
for seed in range(len(runs)):
    chart.text(LEFT + 10, TOP + HEIGHT - 45 + 15 * seed, f"seed {seed}", fill=COLOURS[seed])
chart.write(HERE / "marks.svg", 3 * (WIDTH + LEFT) + 20, TOP + HEIGHT + 30)
