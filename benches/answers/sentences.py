"""How many sentences that say a number are read as it, and how many that say another thing of it.

usage: sentences.py TRAIN DATA      (DATA has gsm8k/train.jsonl; needs what agreement.py needs)

Right are the last lines of GSM8K's solutions, their sums taken out, whose only number is the gold answer (some break off, or say "if"): the rate is
worth comparing with another commit's, not with 100 %. Wrong are FORMS of the first 300 gold answers.
"""
import json, pathlib, re, sys
from agreement import lines, program

FORMS = ["the negative of the number %s", "%s tripled", "%s doubled", "%s, not correct", "%s (not right)", "%s quarters", "%s lakh", "%s hundreds", "unlikely %s",
    "%s is too big", "a quarter of %s", "the square root of the number %s", "%s fewer", "different from %s", "minimum %s", "every number besides %s",
    "%s and a quarter", "The wrong answer is %s", "It is false that the answer is %s", "(1/%s)^{-1}", "%s^1", "%sx/x", "%s\\pi/\\pi", "➖%s"]

def closing(row):
    last = re.split(r"(?<=[a-z])\. ", row["rationale"].strip().split("\n")[-1])[-1]
    text = re.sub(r"[-$\d.,/*+x×÷%()\s]*\d[-$\d.,/*+x×÷%()\sa-z]*=\s*(?=\$?\d)", " ", last)
    text = re.sub(r"\s+", " ", text).strip().rstrip(".")
    numbers = re.findall(r"\d[\d,]*\.?\d*", text)
    same = len(numbers) == 1 and numbers[0].replace(",", "").rstrip(".").removesuffix(".00") == row["answer"].replace(",", "")
    return text if same and "=" not in text and len(text.split()) > 2 and re.search("[a-z]", text) else None

def main(train, data):
    rows = lines(pathlib.Path(data) / "gsm8k/train.jsonl")
    right = [("GSM8K", "right", "closing", "#### " + closing(row), row["answer"], None) for row in rows if closing(row)]
    golds = [row["answer"] for row in rows[:300]]
    form = lambda text, gold: text.replace("%s", gold) if text[0] in "TI" else "#### " + text.replace("%s", gold)
    wrong = [("GSM8K", "wrong", text, form(text, gold), gold, None) for text in FORMS for gold in golds]
    verdicts = program(str(pathlib.Path(train).resolve()), right + wrong)
    print(f"right {sum(verdicts[:len(right)])} of {len(right)}; wrong that pass {sum(verdicts[len(right):])} of {len(wrong)}")

if __name__ == "__main__":
    main(*sys.argv[1:])
