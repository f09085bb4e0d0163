"""Draws ladder.svg from the evaluations of recipes/preference-ladder.toml: seed-SEED.jsonl, a run's evaluations.jsonl. Standard
library only. Run: python plot.py
"""

import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
ARMS = ["sft", "rft", "rft-again", "outcome", "outcome-nll", "first-error", "siblings"]
COLOURS = ["#0072b2", "#d55e00", "#009e73"]
WIDTH, HEIGHT, LEFT, TOP, GROUP = 700, 260, 50, 20, 92

out = [f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + GROUP * len(ARMS)}" fill="none" stroke="black"/>']
for share in (0, 0.25, 0.5, 0.75, 1):
    out.append(f'<text x="{LEFT - 6}" y="{TOP + HEIGHT * (1 - share) + 4}" text-anchor="end">{share:.0%}</text>')
for number, path in enumerate(sorted(HERE.glob("seed-*.jsonl"))):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    reports = {line["stage"].removesuffix("-held-out"): line["report"] for line in lines}
    for place, arm in enumerate(ARMS):
        x = LEFT + GROUP * place + 14 + 22 * number
        accuracy, (low, high) = reports[arm]["accuracy"], reports[arm]["interval"]
        y = lambda share: TOP + HEIGHT * (1 - share)
        out.append(f'<rect x="{x}" y="{y(accuracy):.1f}" width="18" height="{HEIGHT * accuracy:.1f}" fill="{COLOURS[number]}"/>')
        out.append(f'<path d="M{x + 9} {y(low):.1f}V{y(high):.1f}" stroke="black"/>')
    out.append(f'<text x="{LEFT + 20 + 70 * number}" y="{TOP + HEIGHT + 36}" fill="{COLOURS[number]}">{path.stem}</text>')
for place, arm in enumerate(ARMS):
    out.append(f'<text x="{LEFT + GROUP * place + 45}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{arm}</text>')
(HERE / "ladder.svg").write_text(
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 20}" height="{TOP + HEIGHT + 44}" font-family="sans-serif" '
    'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")
