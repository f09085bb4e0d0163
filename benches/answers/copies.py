"""How many copies of the question `reward.answer` takes for an answer, and whether golds in their usual forms stay right beside their questions.

usage: copies.py TRAIN DATA      (pip install math-verify, which agreement.py imports)

DATA has gsm8k/, arith_word_problems/, reasoning_gym/ and prm800k_prmbench/ as JSONL. A copy is a number, a fraction, a list or a formula that
stands in the question and is not written as the gold answer is, spaces, commas and signs of money aside. Most of them are simply other values.
"""
import collections, json, pathlib, re, sys
from agreement import boxed, lines, program


def rows(data):
    seen = set()
    for source in ("gsm8k", "arith_word_problems", "reasoning_gym", "prm800k_prmbench"):
        for name in ("train", "test"):
            for row in lines(data / f"{source}/{name}.jsonl"):
                question, gold = row["question"], row.get("answer")
                if source == "prm800k_prmbench":
                    ends = [boxed(step) or "".join(re.findall(r"# Answer\s+(.+)$", step, re.S)) for step in row["steps"][-2:]]
                    gold = next((end.strip().rstrip(".") for end in reversed(ends) if end), None)
                if not gold or len(str(gold)) > 80 or (question, gold) in seen:
                    continue
                seen.add((question, gold))
                yield source, question, str(gold)


def spans(question):
    """What of a question could be copied."""
    numbers = re.findall(r"\d[\d,.]*(?:/\d+)? ?(?:%|percent)?", question)
    fractions = re.findall(r"\\[dt]?frac\{-?\d+\}\{-?\d+\}|-?\d+/-?\d+", question)
    lists = re.findall(r"(?:-?\d+(?:\.\d+)?, ?)+-?\d+(?:\.\d+)?", question)
    formulas = re.findall(r"\$([^$]+)\$", question) + re.findall(r"\\\[(.+?)\\\]", question, re.S)
    sides = [side for formula in formulas for side in re.split(r"=|\\\\|,|\\le|<|>|\\text", formula)]
    found = {span.strip().rstrip(".,?") for span in numbers + fractions + lists + formulas + sides}
    return sorted(span for span in found if span and len(span) < 150 and span.count("{") == span.count("}"))


def forms(gold):
    """A gold answer as it is usually written."""
    yield f"#### {gold}"
    yield "So \\boxed{%s}" % gold.strip("$")
    if re.fullmatch(r"-?\d+", gold):
        yield f"#### {int(gold):,}"
        yield f"The answer is \\${gold}.00."
        yield f"The answer is {gold} apples."
        yield "So \\boxed{x = %s}" % gold
        yield "So \\boxed{%s\\%%}" % gold
    fraction = re.fullmatch(r"\$?\\[dt]?frac\{(-?\d+)\}\{(\d+)\}\$?", gold)
    if fraction:
        yield "#### %s/%s" % fraction.groups()
        yield "So \\boxed{\\dfrac{%s}{%s}}" % fraction.groups()


def main(train, data):
    plain = lambda text: re.sub(r"[\s$\\!,]|text|left|right|displaystyle|dfrac|frac", "", text).lower()
    asked, questions = [], []
    for source, question, gold in rows(pathlib.Path(data)):
        for span in spans(question):
            if plain(span) != plain(gold):
                asked.append((source, "copy", "", "So \\boxed{%s}" % span, gold, None))
                questions.append(question)
        for form in forms(gold):
            asked.append((source, "gold", "", form, gold, None))
            questions.append(question)
    counts = collections.Counter()
    for row, right in zip(asked, program(str(pathlib.Path(train).resolve()), asked, questions)):
        counts[row[0], row[1], "rows"] += 1
        counts[row[0], row[1], "right"] += right
    for source, kind in sorted({key[:2] for key in counts}):
        print(f"{source}, {kind}: {counts[source, kind, 'right']} of {counts[source, kind, 'rows']} accepted")


if __name__ == "__main__":
    main(*sys.argv[1:])
