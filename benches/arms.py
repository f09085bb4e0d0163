"""Draws a recipe's arms: a panel a figure, a row an arm, a dot a seed and a bar at their mean, of the figures that figures.py wrote.

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
    end = 1.0 if span <= 1 else math.ceil(span / (step := 10 ** math.floor(math.log10(span)))) * step
    return (-end if least < 0 else 0.0), end


def words(given):
    name, _, told = given.partition("=")
    return name, told or name.rsplit("/", 1)[-1].replace("_", " ")


def main():
    source, recipe, out, stages, *figures = sys.argv[1:]
    found = json.loads(pathlib.Path(source).read_text())[recipe]
    arms = [words(stage) for stage in stages.split(",")]
    chart = Chart()
    for row, (_, told) in enumerate(arms):
        chart.text(NAMES - 12, TOP + ROW * row + 16, told, "end")
    seeds = set()
    for number, (figure, told) in enumerate(map(words, figures)):
        values = [found[stage].get(figure, {}) for stage, _ in arms]
        everything = [value for arm in values for value in arm.values()]
        if not everything:
            sys.exit(f"{source}: no figure {figure} in stages {stages} of {recipe}")
        low, high = scale(max(everything), min(everything))
        left = NAMES + number * (PANEL + GAP)
        place = lambda value: left + PANEL * (value - low) / (high - low)
        chart.text(left, TOP - 12, told)
        chart.axes(left, TOP, PANEL, ROW * len(arms))
        chart.text(left, TOP + ROW * len(arms) + 15, f"{low:g}")
        chart.text(left + PANEL, TOP + ROW * len(arms) + 15, f"{high:g}", "end")
        for row, arm in enumerate(values):
            middle = TOP + ROW * row + ROW / 2
            for seed, value in arm.items():
                seeds.add(seed)
                chart.dot(place(value), middle, 4, COLOURS[sorted(arm).index(seed) % len(COLOURS)])
            if arm:
                chart.upright(round(place(sum(arm.values()) / len(arm)), 1), middle - 8, middle + 8)
    below = TOP + ROW * len(arms) + 34
    for number, seed in enumerate(sorted(seeds)):
        chart.text(NAMES + 70 * number, below, f"seed {seed}", fill=COLOURS[number % len(COLOURS)])
    chart.text(NAMES + 70 * len(seeds), below, "bar: mean")
    width = NAMES + len(figures) * (PANEL + GAP)
    chart.write(pathlib.Path(out), width, below + 12)


main()
