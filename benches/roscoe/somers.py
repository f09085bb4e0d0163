"""What ROSCOE's scores find: reads the traces of a run of recipes/roscoe.toml and the rows that rows.py made.

Of chains: Somers' D of each score between chains as they are and those with one kind of error, 1 where every whole chain has more than every broken one, 0 at
chance, over pairs of one question. Of explanations: Spearman's rank correlation with what people said. Brackets are 95 % intervals, questions drawn again.

Standard library only. Run: python somers.py RUN CHAINS.jsonl EXPLANATIONS.jsonl
"""

import collections
import json
import pathlib
import random
import sys


def read(traces, rows):
    """Of each example its row and its scores, by question."""
    by_id = {row["id"]: row for row in map(json.loads, pathlib.Path(rows).open())}
    questions = collections.defaultdict(list)
    for line in traces.open():
        told = json.loads(line)
        row = by_id[told["example"]]
        questions[row["question"]].append(row | {"scores": told["scores"]})
    return list(questions.values())


def sign(value):
    return (value > 0) - (value < 0)


def somers(questions, fault, score):
    """Mean sign of whole − broken over questions that have both."""
    pairs = []
    for rows in questions:
        whole = [row["scores"][score] for row in rows if row["fault"] == "none"]
        broken = [row["scores"][score] for row in rows if row["fault"] == fault]
        pairs += [sign(one - other) for one in whole for other in broken]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    found, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for at in order[start:end]:
            found[at] = (start + end - 1) / 2
        start = end
    return found


def spearman(questions, score):
    rows = sum(questions, [])
    xs, ys = ranks([row["scores"][score] for row in rows]), ranks([row["plausibility"] for row in rows])
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mx) * (y - my) for x, y in zip(xs, ys))
    under = (sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys)) ** 0.5
    return over / under if under else float("nan")


def interval(questions, figure, draws=1000):
    rng = random.Random(0)
    found = sorted(figure(rng.choices(questions, k=len(questions))) for _ in range(draws))
    return f"{figure(questions):+.2f} [{found[int(0.025 * draws)]:+.2f}, {found[int(0.975 * draws) - 1]:+.2f}]"


def main():
    run, chains, explanations = sys.argv[1:]
    traces = pathlib.Path(run, "traces")
    questions = read(traces / "chains.jsonl", chains)
    scores = sorted(questions[0][0]["scores"])
    faults = sorted({row["fault"] for rows in questions for row in rows} - {"none"})
    print(f"Somers' D, {len(questions)} chains\n| score | {' | '.join(faults)} |\n| --- |{' --- |' * len(faults)}")
    for score in scores:
        cells = [interval(questions, lambda some: somers(some, fault, score)) for fault in faults]
        print(f"| {score} | {' | '.join(cells)} |")
    questions = read(traces / "explanations.jsonl", explanations)
    print(f"\nSpearman with people's plausibility, {sum(map(len, questions))} explanations\n| score | |\n| --- | --- |")
    for score in scores:
        print(f"| {score} | {interval(questions, lambda some: spearman(some, score))} |")


if __name__ == "__main__":
    main()
