"""Writes ProntoQA in symbols for recipes/logic-orm.toml, so that a new model of one token a character can read it: a class
is a small letter, a property a capital, "Every wumpus is a zumpus." is `a>b` (`a/b` for "is not a"), "Zumpuses are cold." is
`b+C` (`b-C` for "are not"), the question stands behind `|`. Each row of the training split comes several times, its letters drawn anew.

  warmup.jsonl   question and gold chain
  hinted.jsonl   the same behind a line that tells the answer, which teaches a model to heed one
  cot.jsonl      further drawings of the training split, to be sampled; `wrong` is the other answer
  test.jsonl     the test split, drawn once

Standard library only. Run: python rows.py DATA OUT
"""

import json
import pathlib
import random
import re
import string
import sys

DATA, OUT = map(pathlib.Path, sys.argv[1:])
RULE = re.compile(r"^(?:Each|Every)? ?(\w+) (?:is|are) (not )?(?:an? )?(\w+)\.$")
QUERY = re.compile(r"^(\w+) is an? (\w+)\. True or false: \w+ is (not )?(?:an? )?(\w+)\.$")


def singular(word):
    word = word.lower()
    return word[:-2] if word.endswith("uses") else word


def facts(question):
    """The rules as (class, sign, class or property), and the question as (class, sign, property)."""
    start = re.search(r"\S+ is an? \w+\. True or false", question).start()
    found = [RULE.match(text) for text in re.findall(r"[^.]+\.", question[:start].strip().replace(". ", "."))]
    assert all(found), question
    rules = [(singular(m[1]), "-" if m[2] else "+", singular(m[3])) for m in found]
    query = QUERY.match(question[start:].strip())
    return rules, (singular(query[2]), "-" if query[3] else "+", query[4])


def chain(steps):
    """The rules of the gold proof, in order."""
    found = (RULE.match(step) for step in steps)
    rules = [m for m in found if m and not m[1][0].isupper() or m and singular(m[1]).endswith("us")]
    return [(singular(m[1]), "-" if m[2] else "+", singular(m[3])) for m in rules]


def drawn(row, draw):
    rules, query = facts(row["question"])
    classes = sorted({word for a, _, b in rules for word in (a, b) if word.endswith("us")})
    properties = sorted({b for _, _, b in rules + [query] if not b.endswith("us")})
    letters = dict(zip(classes, draw.sample(string.ascii_lowercase, len(classes))))
    letters |= dict(zip(properties, draw.sample(string.ascii_uppercase, len(properties))))
    marks = lambda b: {"+": ">", "-": "/"} if b.endswith("us") else {"+": "+", "-": "-"}
    written = lambda a, sign, b: letters[a] + marks(b)[sign] + letters[b]
    question = ",".join(written(*rule) for rule in rules) + "|" + written(*query) + "\n"
    proof = [written(*rule) for rule in chain(row["steps"])]
    assert len(proof) == 3, row
    return question, "\n".join(proof), row["answer"]


def rows(split, copies, seed):
    draw = random.Random(seed)
    lines = (DATA / "prontoqa" / f"{split}.jsonl").read_text().splitlines()
    for copy in range(copies):
        for row in map(json.loads, lines):
            question, proof, answer = drawn(row, draw)
            yield {"id": f'{row["id"]}-{seed}-{copy}', "question": question, "rationale": proof, "answer": answer}


def write(name, rows):
    (OUT / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write("warmup.jsonl", rows("train", 100, 1))
    hinted = lambda row: {**row, "question": row["answer"] + "!" + row["question"]}
    write("hinted.jsonl", map(hinted, rows("train", 30, 2)))
    wrong = {"True": "False", "False": "True"}
    write("cot.jsonl", ({**row, "wrong": wrong[row["answer"]]} for row in rows("train", 2, 3)))
    write("test.jsonl", rows("test", 1, 4))
