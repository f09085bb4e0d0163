"""What runs came to, as figures: for each recipe, stage and figure the values of its seeds, of the last evaluation of each stage.

Usage: figures.py RUNS RECIPE... > figures.json
RUNS is a folder with RECIPE-SEED for each recipe and seed: train --recipe recipes/RECIPE.toml --set run.seed=SEED --out RUNS/RECIPE-SEED
With --table it prints a Markdown table instead, a row a stage and figure, each value and the mean.
"""

import json
import pathlib
import re
import sys

# What of a report is a setting, a sample or an interval, and no figure.
LEFT_OUT = {"questions", "interval", "decoding", "shown", "samples", "unanswered", "figures"}


def flat(report, name=""):
    """Each number of a report under its path; of a figure with an interval its mean."""
    if isinstance(report, (int, float)):
        yield name, round(report, 5)
    elif isinstance(report, list) and name.startswith("classes/"):
        yield name, round(report[0], 5)
    elif isinstance(report, dict):
        if isinstance(report.get("mean"), (int, float)):
            yield name, round(report["mean"], 5)
        for key, value in report.items():
            if key not in LEFT_OUT | {"mean"} or (key == "figures" and name == "held_out"):
                yield from flat(value, f"{name}/{key}" if name else key)


def figures(runs, recipe):
    found = {}
    named = ((run, re.fullmatch(re.escape(recipe) + r"-(\d+)", run.name)) for run in runs.iterdir())
    seeds = {int(name[1]): run for run, name in named if name and (run / "evaluations.jsonl").exists()}
    for seed, run in sorted(seeds.items()):
        last = {}
        for line in (run / "evaluations.jsonl").read_text().splitlines():
            told = json.loads(line)
            last[told["stage"]] = dict(flat(told["report"]))
        for stage, report in last.items():
            for name, value in report.items():
                found.setdefault(stage, {}).setdefault(name, {})[str(seed)] = value
    return found


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--table"]
    runs, recipes = pathlib.Path(arguments[0]), arguments[1:]
    all_of_them = {recipe: figures(runs, recipe) for recipe in recipes}
    if "--table" not in sys.argv:
        print(json.dumps(all_of_them, separators=(",", ":")))
        return
    for recipe, stages in all_of_them.items():
        for stage, found in stages.items():
            for name, values in found.items():
                mean = sum(values.values()) / len(values)
                print(f"| {recipe} | {stage} | {name} | {', '.join(f'{value:.4g}' for value in values.values())} | {mean:.4g} |")


main()
