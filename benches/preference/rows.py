"""Writes one-unknown word problems as questions with a rationale of steps, for benches/preference/smollm2.py: first the
expression, then one operation a line. Rows whose equation is not `x = expression`, or whose numbers are not those of the
answer, are left out and counted.

Standard library only. Run: python rows.py DATA OUT
"""

import ast
import fractions
import json
import operator
import pathlib
import re
import sys

DATA, OUT = map(pathlib.Path, sys.argv[1:])
SIGNS = {ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("*", operator.mul), ast.Div: ("/", operator.truediv)}


def side(equation):
    """The side without the unknown; None if there is none."""
    sides = [text.strip() for text in re.sub(r"\s", "", equation).lower().split("=")]
    rest = [text for text in sides if text and text != "x"]
    return rest[0] if len(rest) == 1 and "x" not in rest[0] else None


def written(value):
    return f"{float(value):.10g}"


def steps(node, lines):
    """The value of `node`; its operations, innermost first, are added to `lines`."""
    if isinstance(node, ast.Constant):
        return fractions.Fraction(str(node.value))
    sign, operation = SIGNS[type(node.op)]
    left, right = steps(node.left, lines), steps(node.right, lines)
    value = operation(left, right)
    lines.append(f"{written(left)} {sign} {written(right)} = {written(value)}")
    return value


def expression(node, outer=0):
    if isinstance(node, ast.Constant):
        return written(node.value)
    rank = 1 if isinstance(node.op, (ast.Add, ast.Sub)) else 2
    text = f"{expression(node.left, rank)} {SIGNS[type(node.op)][0]} {expression(node.right, rank + 0.5)}"
    return f"({text})" if rank < outer else text


def rationale(row):
    text = side(row["equation"])
    try:
        tree = ast.parse(text, mode="eval").body
        lines = []
        value = steps(tree, lines)
    except (TypeError, SyntaxError, KeyError, ZeroDivisionError, AttributeError):
        return None
    if abs(float(value) - float(row["answer"])) > 1e-6 or max(map(len, lines), default=99) > 40:
        return None
    return "\n".join([expression(tree), *lines])


OUT.mkdir(parents=True, exist_ok=True)
for split in ("train", "test"):
    rows = [json.loads(line) for line in (DATA / "arith_word_problems" / f"{split}.jsonl").read_text().splitlines()]
    kept = [{"id": row["id"], "question": row["question"].strip(), "rationale": text, "answer": row["answer"]} for row in rows if (text := rationale(row))]
    (OUT / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    print(f"{split}: {len(kept)} of {len(rows)} rows; {sum(row['rationale'].count(chr(10)) > 1 for row in kept)} with two operations or more")
