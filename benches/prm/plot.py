"""Draws hacking.svg from the figures of recipes/prm-grpo-arithmetic.toml's arms: FORM-SEED.jsonl, the lines of a run's
metrics.jsonl. Standard library only. Run: python plot.py
"""

import collections
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
COLOURS = {"none": "#888888", "sum": "#d55e00", "min": "#0072b2", "clip_delta": "#009e73"}
PANELS = [("eval/accuracy", "held-out accuracy", 1.0), ("steps/score", "mean score of a step", 1.0)]
WIDTH, HEIGHT, LEFT, TOP = 300, 200, 50, 30

runs = collections.defaultdict(list)
for path in sorted(HERE.glob("*-*.jsonl")):
    runs[path.stem.rsplit("-", 1)[0]].append([json.loads(line) for line in path.read_text().splitlines()])

out = []
for number, (key, title, top) in enumerate(PANELS):
    series = [(form, [(l["step"], l[key]) for l in lines if key in l]) for form, all in runs.items() for lines in all]
    most = top or max(value for _, points in series for _, value in points) or 1.0
    last = max(step for _, points in series for step, _ in points)
    x0, y0 = LEFT + number * (WIDTH + LEFT + 20), TOP + HEIGHT
    out.append(f'<text x="{x0}" y="{TOP - 10}">{title}</text>')
    out.append(f'<path d="M{x0} {TOP}V{y0}H{x0 + WIDTH}" fill="none" stroke="black"/>')
    out.append(f'<text x="{x0 - 6}" y="{TOP + 5}" text-anchor="end">{most:.3g}</text>')
    out.append(f'<text x="{x0 - 6}" y="{y0}" text-anchor="end">0</text>')
    out.append(f'<text x="{x0 + WIDTH}" y="{y0 + 16}" text-anchor="end">step {last}</text>')
    for form, points in series:
        place = " ".join(f"{x0 + WIDTH * step / last:.1f},{y0 - HEIGHT * value / most:.1f}" for step, value in points)
        out.append(f'<polyline points="{place}" fill="none" stroke="{COLOURS[form]}" stroke-width="2"/>')
for row, form in enumerate(runs):
    out.append(f'<text x="{LEFT + 10}" y="{TOP + HEIGHT - 50 + 16 * row}" fill="{COLOURS[form]}">{form}</text>')
size = f'width="{2 * (WIDTH + LEFT + 20) + 20}" height="{TOP + HEIGHT + 30}"'
style = 'font-family="sans-serif" font-size="12"'
(HERE / "hacking.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<rect width="100%" height="100%" fill="white"/>\n'
    + "\n".join(out) + "\n</svg>\n")
