"""Figures of recipes/shop-actions.toml's arms, and ablation.svg drawn from them. Standard library only.

python plot.py RUN SEED   takes ARM-SEED.jsonl from a run's evaluations.jsonl; run with eval.show = 300, so that all
                          completions are there
python plot.py            draws, and prints the table of means
"""

import collections
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from chart import Chart, read, read_runs

ARMS = {"full": "#0072b2", "unscaled": "#e69f00", "formless": "#d55e00", "unprepared": "#888888"}
TYPES = ["terminate", "click", "type_and_submit"]
PANELS = [("exact", "exact action"), ("click", "exact action, clicks"), ("type_f1", "type, macro-F1"), ("valid", "valid JSON")]
WIDTH, HEIGHT, LEFT, TOP = 200, 180, 45, 30


def action(completion):
    """The action behind the last ####, or none if it is no JSON object."""
    try:
        found = json.loads(completion.rsplit("####", 1)[1])
        return found if isinstance(found, dict) else None
    except (IndexError, ValueError):
        return None


def figures(report):
    """Exact accuracy, and of the type accuracy and macro-F1; a completion without an action has no type."""
    pairs = [(json.loads(shown["answer"])["type"], action(shown["completion"])) for shown in report["shown"]]
    said = [(gold, found.get("type") if found else None) for gold, found in pairs]

    def f1(kind):
        right = sum(gold == kind == one for gold, one in said)
        return 2 * right / max(1, sum(gold == kind for gold, _ in said) + sum(one == kind for _, one in said))

    return {
        "exact": report["accuracy"],
        "interval": report["interval"],
        "click": report["classes"]["click"][0],
        "type_and_submit": report["classes"]["type_and_submit"][0],
        "terminate": report["classes"]["terminate"][0],
        "type": sum(gold == one for gold, one in said) / len(said),
        "type_f1": sum(map(f1, TYPES)) / len(TYPES),
        "valid": sum(found is not None for _, found in pairs) / len(pairs),
        "says_terminate": sum(one == "terminate" for _, one in said) / len(said),
    }


def gather(run, seed):
    lines = collections.defaultdict(list)
    for line in read(pathlib.Path(run) / "evaluations.jsonl"):
        lines[line["stage"]].append({"step": line["step"], **figures(line["report"])})
    for arm in ARMS:
        start = [] if arm == "unprepared" else [{**lines["warmup"][-1], "step": 0}]
        text = "".join(json.dumps(line) + "\n" for line in start + lines[arm])
        (HERE / f"{arm}-{seed}.jsonl").write_text(text)


def draw():
    found = read_runs(HERE)
    runs = {arm: found.get(arm, []) for arm in ARMS}
    chart = Chart()
    for number, (key, title) in enumerate(PANELS):
        last = max(line["step"] for all in runs.values() for lines in all for line in lines)
        x0, y0 = LEFT + number * (WIDTH + LEFT), TOP + HEIGHT
        chart.panel(x0, TOP, WIDTH, HEIGHT, title, last=last)
        for arm, all in runs.items():
            for lines in all:
                chart.line([(x0 + WIDTH * line["step"] / last, y0 - HEIGHT * line[key]) for line in lines], ARMS[arm])
    for row, arm in enumerate(ARMS):
        chart.text(LEFT + row * 110, TOP + HEIGHT + 34, arm, fill=ARMS[arm])
    chart.write(HERE / "ablation.svg", len(PANELS) * (WIDTH + LEFT) + LEFT, TOP + HEIGHT + 45)
    keys = ["exact", "terminate", "click", "type_and_submit", "type", "type_f1", "valid", "says_terminate"]
    print("| arm | " + " | ".join(keys) + " |")
    rows = [("warm-up", [lines[0] for lines in runs["full"]])]
    rows += [(arm, [lines[-1] for lines in all]) for arm, all in runs.items()]
    for arm, ends in rows:
        def cell(key):
            shares = [100 * end[key] for end in ends]
            return f"{sum(shares) / len(shares):.1f} ({min(shares):.0f}–{max(shares):.0f})"
        print(f"| {arm} | " + " | ".join(map(cell, keys)) + " |")


gather(*sys.argv[1:]) if len(sys.argv) == 3 else draw()
