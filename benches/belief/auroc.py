"""What a judge's uncertainty after each step says of chains: python auroc.py RUN…   reads the verdicts of recipes/entropy-utility.toml.
Standard library only. Prints, a run, the AUROC of −slope for right against wrong chains with a bootstrap interval over questions, the
mean H by step for both, and their lengths."""

import json
import pathlib
import random
import sys


def auroc(rows):
    """The share of pairs of a right and a wrong chain of which the right one has the lower slope; ties count half."""
    right = sorted(-row["slope"] for row in rows if row["right"])
    wrong = sorted(-row["slope"] for row in rows if not row["right"])
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


def interval(rows, draws=1000):
    by_question = {}
    for row in rows:
        by_question.setdefault(row["question"], []).append(row)
    questions, rng = list(by_question.values()), random.Random(0)
    found = sorted(auroc(sum(rng.choices(questions, k=len(questions)), [])) for _ in range(draws))
    return found[int(0.025 * draws)], found[int(0.975 * draws) - 1]


def read(run):
    rows = []
    for line in next(pathlib.Path(run, "evaluations").glob("chains-*.jsonl")).open():
        told = json.loads(line)
        measures, taken = told["measures"], told["step_measures"]["reduction"]
        # H₀ is what is left and what was taken.
        series = [measures["entropy"] + measures["reduction"]]
        for step in taken:
            series.append(series[-1] - step)
        rows.append({"question": told["question"], "right": told["right"], "slope": measures["slope"], "tokens": told["tokens"],
                     "h": series, "digits": told["by"]["digits"]})
    return rows


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else float("nan")


for run in sys.argv[1:]:
    rows = read(run)
    low, high = interval(rows)
    print(f"{run}: {len(rows)} chains, {mean(row['right'] for row in rows):.3f} right; AUROC of −slope {auroc(rows):.3f} [{low:.3f}, {high:.3f}]")
    for digits in sorted({row["digits"] for row in rows}):
        for right in (True, False):
            some = [row for row in rows if row["right"] == right and row["digits"] == digits]
            steps = max((len(row["h"]) for row in some), default=0)
            series = (mean(row["h"][k] for row in some if len(row["h"]) > k) for k in range(min(steps, int(digits) + 1)))
            print(f"  {digits} digits, {'right' if right else 'wrong'}: {len(some)} chains of {mean(r['tokens'] for r in some):.1f} tokens; H by step "
                  + " ".join(f"{value:.3f}" for value in series))
