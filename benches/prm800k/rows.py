"""Writes the rows of recipes/prm800k.toml's figures into the folder given last: the step-labelled sets `prm800k_prmbench`
and `mr_gsm8k_wrong` of the folder given first, each with right and wrong solutions in equal parts of what is learned.
MR-GSM8K's snapshot has wrong solutions alone; the reference solution of the same problem stands in for a right one.
train.jsonl is learned; prmbench.jsonl and mr_gsm8k.jsonl are held out, test.jsonl is both of them.
Standard library only. Run: python rows.py DATA OUT
"""

import hashlib
import json
import pathlib
import sys

DATA, OUT = map(pathlib.Path, sys.argv[1:])
KEEP = ("id", "question", "steps", "first_error", "error_type")


def rows(name, split):
    lines = (DATA / name / f"{split}.jsonl").read_text().splitlines()
    # In the order of a hash of the id: a sample that no one chose.
    return sorted(map(json.loads, lines), key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())


def written(name, rows):
    lines = [json.dumps({key: row[key] for key in KEEP}) for row in rows]
    (OUT / name).write_text("\n".join(lines) + "\n")


def prmbench(split):
    return rows("prm800k_prmbench", split)


def mr_gsm8k(split):
    """Each wrong solution, and the reference of its problem without the line of the answer, which is cut from both."""
    out = []
    for row in rows("mr_gsm8k_wrong", split):
        row["steps"] = [step for step in row["steps"] if not step.startswith("####")]
        right = [line for line in row["reference"].split("\n") if line.strip() and not line.startswith("####")]
        if row["first_error"] >= len(row["steps"]) or not right:
            continue
        out.append({**row, "error_type": "wrong"})
        out.append({**row, "id": row["id"] + "-reference", "steps": right, "first_error": -1, "error_type": "none"})
    return out


def balanced(rows, count):
    """The first `count` rows, as many right as wrong."""
    half = lambda right: [row for row in rows if (row["first_error"] == -1) == right][: count // 2]
    return half(True) + half(False)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    written("train.jsonl", balanced(prmbench("train"), 320) + balanced(mr_gsm8k("train"), 160))
    prmbench, mr_gsm8k = balanced(prmbench("test"), 200), balanced(mr_gsm8k("test"), 140)
    written("prmbench.jsonl", prmbench)
    written("mr_gsm8k.jsonl", mr_gsm8k)
    written("test.jsonl", prmbench + mr_gsm8k)
