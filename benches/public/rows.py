"""Makes the rows of three recipes of public data: of the folder DATA, one set with its splits as JSONL, each file becomes one of the
same name in the folder OUT. Sets of the hub come as such files by `load_dataset(NAME, split=SPLIT).to_json(FILE)`.

  rationales   for recipes/frodo.toml: `question`, `rationale`, `answer`, from questions with a reason: GSM8K, StrategyQA (its facts),
               CoS-E, AQuA, QASC, and what has such columns; options stand below their question, and in `choices`
  options      for recipes/poda-contrastive.toml: `question`, `choices` (three to ten), `answer` (a letter), from ReClor, LogiQA 2.0,
               CommonsenseQA, OpenBookQA, ARC, AQuA, and what has such columns; a passage stands above its question
  judgements   for recipes/self-rationalizing-judge.toml: `question` (what was asked, what was answered, the rubric), `answer` (1 to 5)
               and, where the set has the judge's reason, `rationale`: from Feedback-Collection (its own rubrics), HelpSteer (`helpfulness`
               from 0 to 4, and 1), UltraFeedback (`instruction_following`) or explanations with a `plausibility` from 0 to 1
               (github.com/allenai/feb), of which quarters are marks

What cannot be used is left out and counted, and so is what comes again; of a question in two splits, train*.jsonl loses its own.

Standard library only. Run: python rows.py rationales|options|judgements DATA OUT
"""

import collections
import json
import os
import pathlib
import re
import string
import sys

LETTERS = string.ascii_uppercase
# A line that names an option and says nothing else: who reads it needs no reason.
TELLS = re.compile(r"\W*(?:(?i:hence|so|thus|therefore|the|correct|right|answer|ans|option|choice|is)\W*)*[A-J]\W*|####.*")


def text(row, *names):
    """The first of these columns with something in it; a list of texts is one text."""
    for name in names:
        value = row.get(name)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def asked(row):
    inner = row.get("question")
    question = text(inner, "stem") if isinstance(inner, dict) else text(row, "question", "question_stem", "query")
    return question and "\n".join(filter(None, [text(row, "context", "passage", "text"), question]))


def choices(row):
    """Labels and texts of the options, however they are written."""
    inner = row.get("question")
    found = (inner if isinstance(inner, dict) else row).get("choices") or row.get("options") or row.get("answers") or []
    if not isinstance(found, (dict, list)):
        raise TypeError(f"options are a list, not {found!r}")
    if isinstance(found, dict):
        pairs = zip(found["label"], found["text"]) if "label" in found and "text" in found else found.items()
    elif all(isinstance(one, dict) for one in found):
        pairs = [(one.get("label"), one.get("text")) for one in found]
    else:
        # AQuA's begin with their letter, as in "A)32400".
        begins = all(re.match(rf"{letter}\s*\)", str(one)) for letter, one in zip(LETTERS, found))
        pairs = [(letter, str(one).partition(")")[2] if begins else one) for letter, one in zip(LETTERS, found)]
    return [(str(label).strip(), str(one).strip()) for label, one in pairs]


def gold(row, pairs):
    """The place of the right option; None if there is none."""
    answers = (row.get(name) for name in ("answer", "answerKey", "correct", "correct_option", "label"))
    answer = next((one for one in answers if one not in (None, "")), None)
    labels, texts = zip(*pairs) if pairs else ((), ())
    said = str(answer).strip()
    if said in labels:
        return labels.index(said)
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer if 0 <= answer < len(pairs) else None
    return texts.index(said) if texts.count(said) == 1 else None


def differ(pairs, least):
    """Whether there are as many options as the recipes have letters for, each of them another."""
    texts = {one for _, one in pairs}
    return least <= len(pairs) <= 10 and len(texts) == len(pairs) and "" not in texts


def lettered(pairs):
    return [f"({letter}) {one}" for letter, (_, one) in zip(LETTERS, pairs)]


def rationales(row):
    question, pairs = asked(row), choices(row)
    reason = text(row, "rationale", "explanation", "abstractive_explanation", "facts", "combinedfact", "fact1")
    answer = row.get("answer")
    if pairs:
        at = gold(row, pairs)
        answer = None if at is None else LETTERS[at : at + 1]
        # Where labels are the options (yes, no) the question needs none below it.
        if all(label == one for label, one in pairs):
            answer, pairs = None if at is None else pairs[at][1], []
    elif isinstance(answer, bool):
        answer = "yes" if answer else "no"
    elif isinstance(answer, str) and "\n####" in answer:
        # GSM8K has both in one column, with marks of a calculator.
        said, answer = answer.rsplit("\n####", 1)
        reason = re.sub(r"<<.*?>>", "", said)
    answer = "" if answer is None else str(answer).strip()
    reason = "\n".join(line.strip() for line in reason.splitlines() if line.strip() and not TELLS.fullmatch(line))
    if not (question and answer and reason):
        return ["no question" if not question else "no answer" if not answer else "no rationale"]
    if pairs and not differ(pairs, 2):
        return ["not two to ten options that differ"]
    made = {"question": "\n".join([question, *lettered(pairs)]), "rationale": reason, "answer": answer}
    return [{**made, "choices": [one for _, one in pairs]} if pairs else made]


def options(row):
    question, pairs = asked(row), choices(row)
    at = gold(row, pairs)
    if not question or at is None:
        return ["no answer" if question else "no question"]
    if not differ(pairs, 3):
        return ["not three to ten options that differ"]
    return [{"question": question, "choices": [one for _, one in pairs], "answer": LETTERS[at]}]


def judgement(question, answer, rubric, mark, why=""):
    if not (question and answer):
        return "no question" if not question else "no reply"
    if mark not in range(1, 6):
        return "no mark"
    made = {"question": f"Asked: {question}\nAnswered: {answer}\nRubric: {rubric}", "answer": str(int(mark))}
    return {**made, "rationale": why} if why else made


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def judgements(row):
    if "orig_score" in row:
        levels = [f"{mark}: {text(row, f'orig_score{mark}_description')}" for mark in range(1, 6)]
        rubric = "\n".join([text(row, "orig_criteria"), *levels])
        mark, why = number(row["orig_score"]), text(row, "orig_feedback")
        return [judgement(text(row, "orig_instruction"), text(row, "orig_response"), rubric, mark, why)]
    if "completions" in row:
        question, rubric = text(row, "instruction"), "5 does all that was asked, 1 nothing of it."
        rated = [(one, one.get("annotations", {}).get("instruction_following") or {}) for one in row["completions"]]
        return [judgement(question, text(one, "response"), rubric, number(by.get("Rating")), text(by, "Rationale")) for one, by in rated]
    if "explanations" in row:
        pairs = choices(row)
        at, question = gold(row, pairs), "\n".join([asked(row), *lettered(pairs)])
        if at is None:
            return ["no answer"]
        rubric = "5 gives a convincing reason for the right answer, 1 gives none."
        replies = [(text(one, "text"), number(one.get("plausibility"))) for one in row["explanations"]]
        mark = lambda rated: 1 + round(4 * rated) if 0 <= rated <= 1 else None
        return [judgement(question, said and f"{lettered(pairs)[at]}. {said}", rubric, mark(rated)) for said, rated in replies]
    rubric = "5 is as helpful as can be, 1 does not help."
    return [judgement(text(row, "prompt"), text(row, "response"), rubric, 1 + number(row.get("helpfulness")))]


def lines(path):
    """The rows of a file, with the numbers of their lines."""
    with path.open("rb") as file:
        for at, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                # Of a place within the line the line's own number would be 1.
                sys.exit(f"{path}:{at}: {getattr(error, 'msg', error)}")
            if not isinstance(row, dict):
                sys.exit(f"{path}:{at}: no JSON object")
            yield at, row


def converted(path, make, seen):
    """The rows that a file makes, and how many were left out for what."""
    kept, left = [], collections.Counter()
    for at, row in lines(path):
        try:
            made = make(row)
        except (AttributeError, KeyError, TypeError) as error:
            sys.exit(f"{path}:{at}: a column is not as in the sets that are read: {error}")
        name = text(row, "id", "qid", "id_string") or f"{path.stem}-{at}"
        for which, one in enumerate(made):
            if isinstance(one, dict):
                key = one["question"], *one.get("choices", [])
                one = "come again" if key in seen else one
            if isinstance(one, str):
                left[one] += 1
                continue
            seen.add(key)
            kept.append({"id": f"{name}-{which}" if len(made) > 1 else name, **one})
    return kept, left


def written(path, rows):
    """All or nothing: who stops this has no half of a file."""
    part = path.with_name(path.name + ".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.replace(part, path)


def main(kind, data, out):
    make = {"rationales": rationales, "options": options, "judgements": judgements}.get(kind)
    data, out = pathlib.Path(data), pathlib.Path(out)
    # train*.jsonl comes last, so that it is what loses a question that others have.
    files = sorted(data.glob("*.jsonl"), key=lambda path: (path.name.startswith("train"), path.name))
    if make is None:
        sys.exit(f"{kind} is none of rationales, options, judgements")
    if not files:
        sys.exit(f"{data}: there is no *.jsonl here")
    if data.resolve() == out.resolve():
        sys.exit(f"{out}: this would overwrite what is read; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    seen = set()
    for path in files:
        kept, left = converted(path, make, seen)
        why = ", ".join(f"{count} {reason}" for reason, count in left.most_common())
        print(f"{path}: {len(kept)} of {len(kept) + sum(left.values())} rows" + (f"; left out: {why}" if why else ""), file=sys.stderr)
        # A split without answers, as tests of leaderboards are, makes no file.
        if kept:
            written(out / path.name, kept)
    if not seen:
        sys.exit(f"{data}: no row of it can be used for {kind}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("python rows.py rationales|options|judgements DATA OUT")
    main(*sys.argv[1:])
