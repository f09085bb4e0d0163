"""Writes ProntoQA in symbols for recipes/logic-orm.toml, short and one token a symbol in SmolLM2's tokenizer: a class is a small
letter, a property a capital (without T and F). "Every wumpus is a zumpus." is ` a b;`, "Zumpuses are cold." ` b + C;`, "… not
cold" ` b - C;`, "… not a zumpus" ` a / b;`. The question stands first: "Max is a wumpus. True or false: Max is cold." is `Q a ?
C + T - F;`, "… is not cold" `Q a ? C + F - T;`. A completion is the rules of the gold proof, then the sign that they come to
and the answer, such as `= a b; b c; c + C; + T`. A class that is asked about is written as a property. Each row of the training
split comes several times, its letters drawn anew; the test split comes once, with all its rules in their order.

  warmup.jsonl   question and gold proof
  hinted.jsonl   the same behind a word that tells the answer, which teaches a model to heed one
  cot.jsonl      another drawing of the training split, to be sampled; `wrong` is the other answer
  dev.jsonl      another drawing of the training split, to look at while the policy learns
  test.jsonl     the test split

Standard library only. Run: python rows.py DATA OUT
"""

import json
import pathlib
import random
import re
import string
import sys

DATA, OUT = map(pathlib.Path, sys.argv[1:])
CAPITALS = "ABCDEGHIJKLMNOPQRSUVWXYZ"
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


def drawn(rules, query, proof, draw):
    """Question, rationale and answer in letters."""
    is_class = lambda word: word.endswith("us") and word != query[2]
    classes = sorted({word for a, _, b in rules for word in ([a, b] if is_class(b) else [a])})
    properties = sorted({b for _, _, b in rules if not is_class(b)})
    letters = dict(zip(classes, draw.sample(string.ascii_lowercase, len(classes))))
    letters |= dict(zip(properties, draw.sample(CAPITALS, len(properties))))
    marks = lambda b: {"+": "", "-": " /"} if is_class(b) else {"+": " +", "-": " -"}
    written = lambda a, sign, b: f" {letters[a]}{marks(b)[sign]} {letters[b]};"
    says = {"+": "T", "-": "F"} if query[1] == "+" else {"+": "F", "-": "T"}
    key = "".join(f" {sign} {answer}" for sign, answer in says.items())
    question = f"Q {letters[query[0]]} ? {letters[query[2]]}{key};" + "".join(written(*rule) for rule in rules) + "\n"
    sign = proof[-1][1]
    return question, "=" + "".join(written(*rule) for rule in proof) + " " + sign, says[sign]


def rows(split, copies, seed):
    draw = random.Random(seed)
    lines = (DATA / "prontoqa" / f"{split}.jsonl").read_text().splitlines()
    for copy in range(copies):
        for row in map(json.loads, lines):
            rules, query = facts(row["question"])
            proof = chain(row["steps"])
            assert len(proof) == 3, row
            question, rationale, answer = drawn(rules, query, proof, draw)
            assert answer == row["answer"][0], row
            yield {"id": f'{row["id"]}-{seed}-{copy}', "question": question, "rationale": rationale, "answer": answer}


def write(name, rows):
    (OUT / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write("warmup.jsonl", rows("train", 10, 1))
    hinted = lambda row: {**row, "question": row["answer"] + "! " + row["question"]}
    write("hinted.jsonl", map(hinted, rows("train", 4, 2)))
    wrong = {"T": "F", "F": "T"}
    write("cot.jsonl", ({**row, "wrong": wrong[row["answer"]]} for row in rows("train", 1, 3)))
    write("dev.jsonl", rows("train", 1, 9))
    write("test.jsonl", rows("test", 1, 4))
