"""Writes the rated explanations of `feb_rated_rationales` (github.com/allenai/feb, Apache-2.0: e-SNLI and ECQA questions, each with
two explanations of the right answer that people rated from 0 to 1) as rows for recipes/rationale-preferences.toml: the prompt is a
question with its options, `chosen` the right option, `rejected` a wrong one, drawn, and `rationale`, which says why the one is better,
the explanation that people found the more convincing. Questions whose better explanation is rated below LEAST are left out, and so
is what comes again.

  train.jsonl    the training split
  test.jsonl     the test split, and nothing of it in train.jsonl

Standard library only. Run: python rows.py DATA OUT
"""

import json
import pathlib
import random
import sys

DATA, OUT = map(pathlib.Path, sys.argv[1:])
SET, LEAST = "feb_rated_rationales", 2 / 3


def option(choice):
    return f"({choice['label']}) {choice['text']}"


def preference(row, draw):
    right = next(choice for choice in row["choices"] if choice["label"] == row["answer"])
    wrong = draw.choice([choice for choice in row["choices"] if choice is not right])
    prompt = "\n".join([row["question"], *map(option, row["choices"])])
    why = max(row["explanations"], key=lambda one: one["plausibility"])["text"]
    return {"id": row["id"], "prompt": prompt, "chosen": option(right), "rejected": option(wrong), "rationale": why}


def believed(row):
    # Ratings are rounded to four places.
    return max(one["plausibility"] for one in row["explanations"]) > LEAST - 1e-4


def write(split, seen):
    draw = random.Random(split)
    lines = (DATA / SET / f"{split}.jsonl").read_text().splitlines()
    with (OUT / f"{split}.jsonl").open("w") as out:
        for row in filter(believed, map(json.loads, lines)):
            if row["question"] not in seen:
                seen.add(row["question"])
                out.write(json.dumps(preference(row, draw)) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    seen = set()
    for split in ("test", "train"):
        write(split, seen)
