"""How well what is read of a chain's states and of a judge's uncertainty tells whether it comes out right: python auroc.py RUN…   reads the verdicts of recipes/entropy-utility.toml.
Standard library only. Prints, a run, each measure's AUROC for right against wrong chains with a bootstrap interval over questions, the
mean H by step for both, and their lengths."""

import json
import math
import pathlib
import random
import sys

# Which way each is said to go in chains that come out right.
SIGNS = {"slope": -1, "reduction": 1, "entropy": -1, "consistency": 1, "net": 1, "cum": -1, "aligned": 1}


def auroc(rows, name):
    """The share of pairs of a right and a wrong chain of which the measure is for the right one; ties count half."""
    told = [row for row in rows if row["measures"].get(name) is not None]
    right = sorted(SIGNS[name] * row["measures"][name] for row in told if row["right"])
    wrong = sorted(SIGNS[name] * row["measures"][name] for row in told if not row["right"])
    if not right or not wrong:
        return float("nan")
    wins = below = equal = 0
    for value in right:
        while below < len(wrong) and wrong[below] < value:
            below += 1
        equal = below
        while equal < len(wrong) and wrong[equal] == value:
            equal += 1
        wins += below + 0.5 * (equal - below)
    return wins / (len(right) * len(wrong))


def interval(rows, name, draws=1000):
    by_question = {}
    for row in rows:
        by_question.setdefault(row["question"], []).append(row)
    questions, rng = list(by_question.values()), random.Random(0)
    found = (auroc(sum(rng.choices(questions, k=len(questions)), []), name) for _ in range(draws))
    found = sorted(value for value in found if not math.isnan(value)) or [float("nan")]
    return found[int(0.025 * len(found))], found[max(0, int(0.975 * len(found)) - 1)]


def read(run):
    rows = []
    for line in next(pathlib.Path(run, "evaluations").glob("chains-*.jsonl")).open():
        told = json.loads(line)
        measures, taken = told["measures"], told["step_measures"]["reduction"]
        # H₀ is what is left and what was taken.
        series = [measures["entropy"] + measures["reduction"]]
        for step in taken:
            series.append(series[-1] - step)
        rows.append({"question": told["question"], "right": told["right"], "measures": measures, "tokens": told["tokens"],
                     "h": series, "digits": told["by"]["digits"]})
    return rows


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else float("nan")


for run in sys.argv[1:]:
    rows = read(run)
    print(f"{run}: {len(rows)} chains, {mean(row['right'] for row in rows):.3f} right")
    for name, sign in SIGNS.items():
        if any(name in row["measures"] for row in rows):
            low, high = interval(rows, name)
            print(f"  AUROC of {'−' if sign < 0 else ''}{name} {auroc(rows, name):.3f} [{low:.3f}, {high:.3f}]")
    for digits in sorted({row["digits"] for row in rows}):
        for right in (True, False):
            some = [row for row in rows if row["right"] == right and row["digits"] == digits]
            steps = max((len(row["h"]) for row in some), default=0)
            series = (mean(row["h"][k] for row in some if len(row["h"]) > k) for k in range(min(steps, int(digits) + 1)))
            print(f"  {digits} digits, {'right' if right else 'wrong'}: {len(some)} chains of {mean(r['tokens'] for r in some):.1f} tokens; H by step "
                  + " ".join(f"{value:.3f}" for value in series))
