"""Prints what the runs of the recipes beside it came to: a line a recipe and stage, a column a figure, the values of the seeds.

Usage: figures.py RUNS, a folder with NAME-SEED for each recipe and seed (train --recipe recipes/NAME.toml --set run.seed=SEED --out RUNS/NAME-SEED)
"""

import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
SHOWN = ["accuracy", "measure/likeness", "measure/reader", "gold", "gold_hidden", "gold_swapped"]
found = {}
for run in sorted(folder.iterdir()):
    if not (run / "evaluations.jsonl").exists():
        continue
    recipe, seed = run.name.rsplit("-", 1)
    for line in (run / "evaluations.jsonl").read_text().splitlines():
        told = json.loads(line)
        report = told["report"]
        figures = {"accuracy": report.get("accuracy")}
        for name, measure in (report.get("measures") or {}).items():
            figures[f"measure/{name}"] = measure["mean"]
        for name, figure in ((report.get("held_out") or {}).get("figures") or {}).items():
            if name.startswith("gold"):
                figures[name] = figure["mean"]
        for name, value in figures.items():
            found.setdefault((recipe, told["stage"]), {}).setdefault(name, {})[int(seed)] = value
for (recipe, stage), figures in found.items():
    for name in SHOWN:
        if name in figures and any(value is not None for value in figures[name].values()):
            values = [figures[name][seed] for seed in sorted(figures[name])]
            print(f"| {recipe} | {stage} | {name} | {', '.join(f'{value:.3f}' for value in values)} | {sum(values) / len(values):.3f} |")
