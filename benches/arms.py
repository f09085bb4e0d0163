"""Draws a recipe's arms: a panel a figure, a row an arm, a dot a seed and a bar at their mean, of the figures that figures.py wrote, or of a list of
objects with `recipe`, `stage`, `seed` and figures (of those with an `arm` those as the recipe stands).

Usage: arms.py FIGURES.json RECIPE PICTURE.svg STAGE,STAGE... FIGURE[=WORDS]...
A figure is named as figures.py names it (`accuracy`, `held_out/figures/rationale/auprc`); WORDS stand above its panel.
A stage may have other words, too: `rl=reinforced`.
"""

import json
import math
import pathlib
import sys

from chart import COLOURS, Chart

NAMES, PANEL, GAP, ROW, TOP = 160, 190, 46, 24, 34


def scale(most, least):
    """Where an axis ends: at 1 for shares, at a round number that holds all otherwise; it begins at 0 or, where figures are below, as far below."""
    span = max(most, -least)
    step = 10 ** math.floor(math.log10(span)) if span > 0 else 1
    end = 1.0 if span <= 1 and least >= 0 else math.ceil(span / step) * step
    return (-end if least < 0 else 0.0), end


def read(source, recipe):
    """Of each stage each figure by seed."""
    found = json.loads(source.read_text())
    if isinstance(found, dict):
        return found[recipe]
    stages = {}
    for run in found:
        if run.get("recipe", recipe) == recipe and run.get("arm", "as it stands") == "as it stands":
            of_stage = stages.setdefault(run["stage"], {})
            for figure, value in run.items():
                if isinstance(value, (int, float)):
                    of_stage.setdefault(figure, {}).setdefault(str(run["seed"]), value)
    return stages


def words(given):
    name, _, told = given.partition("=")
    return name, told or name.rsplit("/", 1)[-1].replace("_", " ")


def main():
    source, recipe, out, stages, *figures = sys.argv[1:]
    found = read(pathlib.Path(source), recipe)
    arms = [words(stage) for stage in stages.split(",")]
    chart = Chart()
    for row, (_, told) in enumerate(arms):
        chart.text(NAMES - 12, TOP + ROW * row + 16, told, "end")
    seeds = sorted({seed for stage, _ in arms for values in found[stage].values() for seed in values})
    for panel, (figure, told) in enumerate(map(words, figures)):
        values = [found[stage].get(figure, {}) for stage, _ in arms]
        everything = [value for arm in values for value in arm.values()]
        if not everything:
            sys.exit(f"{source}: no figure {figure} in stages {stages} of {recipe}")
        low, high = scale(max(everything), min(everything))
        left = NAMES + panel * (PANEL + GAP)
        place = lambda value: left + PANEL * (value - low) / (high - low)
        chart.text(left, TOP - 12, told)
        chart.axes(left, TOP, PANEL, ROW * len(arms))
        chart.text(left, TOP + ROW * len(arms) + 15, f"{low:g}")
        chart.text(left + PANEL, TOP + ROW * len(arms) + 15, f"{high:g}", "end")
        for row, arm in enumerate(values):
            middle = TOP + ROW * row + ROW / 2
            for seed, value in arm.items():
                number = seeds.index(seed)
                chart.dot(place(value), middle + 4 * (number - (len(seeds) - 1) / 2), 3.5, COLOURS[number % len(COLOURS)])
            if arm:
                chart.upright(round(place(sum(arm.values()) / len(arm)), 1), middle - 8, middle + 8)
    below = TOP + ROW * len(arms) + 34
    for number, seed in enumerate(seeds):
        chart.text(NAMES + 70 * number, below, f"seed {seed}", fill=COLOURS[number % len(COLOURS)])
    chart.text(NAMES + 70 * len(seeds), below, "bar: mean")
    width = NAMES + max(len(figures) * (PANEL + GAP), 70 * (len(seeds) + 1))
    chart.write(pathlib.Path(out), width, below + 12)


main()
