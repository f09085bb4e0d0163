"""Draws marks.svg from SEED.jsonl, the lines of a run's evaluations.jsonl: accuracy, macro-F1 and quadratic weighted kappa after the
warm-up, after SFT on all paths, after SFT on those that come to the human mark, and from there after more of that or after DPO. Standard library only. Run: python plot.py
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
STAGES = [("warmup", "warm-up"), ("sft-all-marks", "on all"), ("sft-marks", "SFT"), ("sft-again-marks", "more SFT"), ("dpo-marks", "DPO")]
COLOURS = ["#0072b2", "#d55e00", "#009e73"]
PANELS = [("accuracy", lambda r: r["accuracy"]), ("macro-F1", lambda r: r["agreement"]["macro_f1"]),
          ("quadratic weighted kappa", lambda r: r["agreement"]["kappa"])]
WIDTH, HEIGHT, LEFT, TOP = 300, 180, 45, 30

runs = []
for path in sorted(HERE.glob("[0-9].jsonl")):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    runs.append([[l["report"] for l in lines if l["stage"] == stage][-1] for stage, _ in STAGES])

out = []
for number, (title, value) in enumerate(PANELS):
    x0, y0 = LEFT + number * (WIDTH + LEFT), TOP + HEIGHT
    out.append(f'<text x="{x0}" y="{TOP - 10}">{title}</text>')
    out.append(f'<path d="M{x0} {TOP}V{y0}H{x0 + WIDTH}" fill="none" stroke="black"/>')
    out += [f'<text x="{x0 - 6}" y="{y}" text-anchor="end">{text}</text>' for y, text in [(TOP + 5, 1), (y0, 0)]]
    places = [x0 + 30 + at * (WIDTH - 60) / (len(STAGES) - 1) for at in range(len(STAGES))]
    out += [f'<text x="{x}" y="{y0 + 16}" text-anchor="middle">{name}</text>' for x, (_, name) in zip(places, STAGES)]
    for seed, run in enumerate(runs):
        points = " ".join(f"{x:.1f},{y0 - HEIGHT * value(report):.1f}" for x, report in zip(places, run))
        out.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[seed]}" stroke-width="2"/>')
for seed in range(len(runs)):
    out.append(f'<text x="{LEFT + 10}" y="{TOP + HEIGHT - 45 + 15 * seed}" fill="{COLOURS[seed]}">seed {seed}</text>')
size = f'width="{3 * (WIDTH + LEFT) + 20}" height="{TOP + HEIGHT + 30}"'
(HERE / "marks.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
    '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")
