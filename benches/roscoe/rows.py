"""Makes the rows of recipes/roscoe.toml of public data: ROSCOE's own test (Golovneva et al. 2023, arXiv 2212.07919) and what people say of explanations.

  chains      GSM8K.jsonl (`question`, `rationale` with a step a line, `answer`): each chain as it is and with one error planted, a kind each:
              repeat, remove, shuffle, swap (two numbers of a step), negate, foreign (a step of another chain)
  explanations  feb.jsonl (`question`, `explanations` with `text`, `source` and the `plausibility` that people gave): each explanation by a model, beside
              the one by a person as its reference

Rows have `question`, `rationale` (the reference), `completion` (what is scored), and `fault` or `plausibility`. Standard library only.
Run: python rows.py chains|explanations FILE OUT.jsonl [ROWS]
"""

import json
import pathlib
import random
import re
import sys

NUMBER = re.compile(r"\d+(?:\.\d+)?")
VERB = re.compile(r"\b(is|are|was|were|has|have|had|will|can|does|did|do)\b")


def swapped(steps, rng):
    """Two different numbers of one step in each other's place."""
    places = []
    for at, step in enumerate(steps):
        found = list(NUMBER.finditer(step))
        places += [(at, a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a[0] != b[0]]
    if not places:
        return None
    at, a, b = rng.choice(places)
    step = steps[at]
    other = step[: a.start()] + b[0] + step[a.end() : b.start()] + a[0] + step[b.end() :]
    return steps[:at] + [other] + steps[at + 1 :]


def negated(steps, rng):
    found = [(at, verb) for at, step in enumerate(steps) for verb in VERB.finditer(step)]
    if not found:
        return None
    at, verb = rng.choice(found)
    step = steps[at]
    return steps[:at] + [f"{step[:verb.end()]} not{step[verb.end():]}"] + steps[at + 1 :]


def shuffled(steps, rng):
    for _ in range(20):
        other = rng.sample(steps, len(steps))
        if other != steps:
            return other
    return None


def errors(steps, foreign, rng):
    at = rng.randrange(len(steps))
    behind = rng.randrange(1, len(steps) + 1)
    yield "none", steps
    yield "repeat", steps[: at + 1] + [steps[at]] + steps[at + 1 :]
    yield "remove", steps[:at] + steps[at + 1 :]
    yield "shuffle", shuffled(steps, rng)
    yield "swap", swapped(steps, rng)
    yield "negate", negated(steps, rng)
    yield "foreign", steps[:behind] + [foreign] + steps[behind:]


def chains(rows, count):
    rng = random.Random(0)
    whole = [(row, [line for line in row["rationale"].split("\n") if line.strip()]) for row in rows]
    whole = [(row, steps) for row, steps in whole if 3 <= len(steps) <= 8]
    rng.shuffle(whole)
    for n, (row, steps) in enumerate(whole[:count]):
        # A chain of another question, not this one's.
        _, others = whole[(n + 1 + rng.randrange(len(whole) - 1)) % len(whole)]
        for fault, changed in errors(steps, rng.choice(others), rng):
            if changed:
                told = {"id": f"{row['id']}-{fault}", "question": row["question"], "answer": row["answer"], "fault": fault}
                yield told | {"rationale": "\n".join(steps), "completion": "\n".join([*changed, f"#### {row['answer']}"])}


def explanations(rows, count):
    for row in rows[:count]:
        people = [one["text"] for one in row["explanations"] if one["source"] == "human"]
        models = [one for one in row["explanations"] if one["source"] != "human" and one.get("plausibility") is not None]
        for n, one in enumerate(models if people else []):
            told = {"id": f"{row['id']}-{n}", "question": row["question"], "answer": row["answer"], "rationale": people[0]}
            yield told | {"completion": f"{one['text']}\n#### {row['answer']}", "plausibility": one["plausibility"], "subset": row.get("subset", "all")}


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("chains", "explanations"):
        sys.exit(__doc__)
    rows = [json.loads(line) for line in pathlib.Path(sys.argv[2]).read_text().splitlines() if line.strip()]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else len(rows)
    made = list((chains if sys.argv[1] == "chains" else explanations)(rows, count))
    out = pathlib.Path(sys.argv[3])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row) + "\n" for row in made))
    print(f"{out}: {len(made)} rows")


main()
