"""How often `reward.answer` and math-verify say the same of an answer, and how many made-up wrong answers pass.

usage: agreement.py TRAIN DATA OUT.json      (pip install math-verify)

DATA has gsm8k/, aqua_rat/ and prm800k_prmbench/ as JSONL (PRM800K's solutions of MATH problems; the golds are what they end in).
Every gold is written in the forms below; each is the completion of a row, scored by the program through [loop.collect], and by
math-verify's parse and verify. A gold is written in a form only where the form means something for it.
"""
import json, logging, pathlib, random, re, subprocess, sys, tempfile
from fractions import Fraction
from math_verify import parse, verify, ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig

logging.disable(logging.CRITICAL)
RECIPE = """[run]
seed = 0
[data]
train = "rows.jsonl"
prompts_per_step = 64
template.chat = false
template.user = "{{ question }}"
[policy]
dtype = "f32"
[policy.init]
tokenizer = "bytes"
hidden_size = 16
layers = 1
heads = 2
kv_heads = 1
context = 4096
[rollout.dataset]
[reward.answer]
[loop.collect]
"""

# What a person would call right: of a whole number.
WHOLE = {
    "n": "#### {n}", "boxed": "So $\\boxed{{{n}}}$.", "is": "The answer is {n}.", "is $": "The answer is ${n}$.", "bold": "**Answer:** {n}",
    "n.0": "So \\boxed{{{n}.0}}", "label": "So \\boxed{{x = {n}}}", "label prose": "The answer is x = {n}.", "unit": "The answer is {n} apples.",
    "text unit": "So \\boxed{{{n}\\text{{ cm}}}}", "unit squared": "So \\boxed{{{n}\\text{{ cm}}^2}}", "plain unit": "The answer is {n} cm.", "dollar": "The answer is \\${n}.",
    "boxed dollar": "So \\boxed{{\\${n}}}", "percent": "So \\boxed{{{n}\\%}}", "degrees": "So \\boxed{{{n}^\\circ}}", "latex (": "The answer is \\({n}\\).",
    "latex [": "The answer is:\n\\[ {n} \\]", "mathbf": "So \\boxed{{\\mathbf{{{n}}}}}", "text": "So \\boxed{{\\text{{{n}}}}}", "braces": "So \\boxed{{{{{n}}}}}", "bracket": "So \\boxed{{({n})}}",
    "sum": "The answer is $3 + {m} = {n}$.", "fbox": "So \\fbox{{{n}}}", "two": "First \\boxed{{{k}}}. No: \\boxed{{{n}}}.",
}
THOUSANDS = {"1,234": "So \\boxed{{{c}}}", "1{,}234": "So \\boxed{{{l}}}", "is 1,234": "The answer is {c}.", "1,234 hashes": "#### {c}"}
# Of MATH's answers that are no whole numbers.
LATEX = {
    "boxed": "So $\\boxed{{{g}}}$.", "is $": "The answer is ${g}$.", "latex (": "The answer is \\({g}\\).", "display": "The answer is:\n\\[ {g} \\]",
    "dfrac": "So \\boxed{{{dfrac}}}", "no spaces": "So \\boxed{{{tight}}}", "spaces": "So \\boxed{{{loose}}}", "left right": "So \\boxed{{{left}}}", "thin": "So \\boxed{{{thin}}}",
    "tfrac": "So \\boxed{{{tfrac}}}", "period": "So \\boxed{{{g}.}}", "braces": "So \\boxed{{{{{g}}}}}", "displaystyle": "So \\boxed{{\\displaystyle {g}}}",
}
# Wrong whatever the gold is; of a whole number.
WRONG = {
    "n pi": "So \\boxed{{{n}\\pi}}", "n i": "So \\boxed{{{n}i}}", "n x": "So \\boxed{{{n}x}}", "n sqrt x": "So \\boxed{{{n}\\sqrt{{x}}}}", "n e": "So \\boxed{{{n}e}}", "n k": "So \\boxed{{{n}k}}",
    "n over x": "So \\boxed{{\\frac{{{n}}}{{x}}}}", "million": "The answer is {n} million.", "not": "The answer is not {n}.", "sqrt": "So \\boxed{{\\sqrt{{{n}}}}}", "log": "So \\boxed{{\\log {n}}}",
    "x ne n": "So \\boxed{{x \\ne {n}}}", "a^n": "So \\boxed{{a^{{{n}}}}}", "x^{n}": "So \\boxed{{x^{{{n}}}}}", "-x+n": "So \\boxed{{-x+{n}}}", "n!": "So \\boxed{{{n}!}}", "pm": "So \\boxed{{\\pm {n}}}",
    "minus": "So \\boxed{{-{n}}}", "en dash": "The answer is –{n}.", "half": "The answer is {n}½.", "or": "The answer is {n} or {m}.", "list": "So \\boxed{{{n}, {m}}}", "range": "The answer is {n}-{m}.",
    "at least": "The answer is at least {n}.", "x > n": "So \\boxed{{x > {n}}}", "ratio": "So \\boxed{{{n}:7}}", "square": "So \\boxed{{{n}^2}}", "word digit": "The answer is A{n}.", "next": "So \\boxed{{{m}}}",
    "tenth": "So \\boxed{{{n}.1}}", "maybe": "The answer is maybe {n} or {m}.", "infinity": "So \\boxed{{\\infty {n}}}", "pair": "So \\boxed{{({n}, {m})}}", "base": "So \\boxed{{{n}_7}}", "heading": "#### Step {n}: add\nThe sum is done.",
    "sin": "So \\boxed{{\\sin {n}}}", "and": "The answer is {n} and {m}.", "times": "The answer is {n} times {m}.", "to": "The answer is {n} to {m}.", "digits": "So \\boxed{{{n}{n}}}",
}
LETTER = {
    "(B)": "The answer is ({L}).", "B": "The answer is {L}.", "boxed": "So \\boxed{{{L}}}", "boxed text": "So \\boxed{{\\text{{{L}}}}}", "boxed textbf": "So \\boxed{{\\textbf{{({L})}}}}", "boxed (B)": "So \\boxed{{({L})}}", "$B$": "The answer is ${L}$.",
    "mathbf": "The answer is $\\mathbf{{{L}}}$.", "Option B": "The answer is Option {L}.", "correct option": "The correct option is {L}.", "B) text": "The answer is {L}) {t}.", "B text": "The answer is {L} {t}.", "B (text)": "The answer is {L} ({t}).",
    "B - text": "The answer is {L} - {t}.", "bold": "**Answer: {L}**", "quotes": "The answer is \"{L}\".", "because": "The answer is {L} because it fits.", "hashes": "#### {L}", "small": "The answer is ({l}).",
}
WRONG_LETTER = {
    "B, C": "The answer is {L}, {M}.", "B or C": "The answer is {L} or {M}.", "boxed list": "So \\boxed{{{L}, {M}}}", "not B": "The answer is not {L}.", "other": "The answer is {M}.", "all": "The answer is A, B, C, D, E.",
    "B) other text": "The answer is {L}) {o}.", "both": "The answer is both {L} and {M}.", "B/C": "The answer is {L}/{M}.", "(B) (C)": "So \\boxed{{({L}) ({M})}}", "either": "The answer is either {L} or {M}.", "maybe": "The answer is maybe {L}.",
}

def lines(path):
    return [json.loads(line) for line in open(path)]

def boxed(text):
    start = text.rfind("\\boxed{")
    if start < 0: return None
    depth, at = 1, start + 7
    while at < len(text) and depth:
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
    return text[start + 7:at - 1]

def math_golds(data):
    golds = set()
    for name in ("train", "test"):
        for row in lines(data / f"prm800k_prmbench/{name}.jsonl"):
            for step in row["steps"][-2:]:
                found = boxed(step)
                heading = re.search(r"# Answer\s+(.+)$", step, re.S)
                golds |= {g.replace("\\n", "").strip().rstrip(".") for g in [found or (heading and heading.group(1))] if g}
    # What is worked out, or one multiple-choice letter, is no answer of MATH.
    return sorted(g for g in golds if not re.search(r"\\div|\*|^[A-Z]$|\d = |surd|8 \+ 16|^\(9\)", g) and len(g) < 80)

def cases(data):
    random.seed(0)
    gsm = [row["answer"].replace(",", "") for row in lines(data / "gsm8k/test.jsonl")]
    gsm = [g for g in dict.fromkeys(gsm) if g.isdigit() and int(g) > 2]
    golds = math_golds(data)
    whole = [g for g in golds if g.isdigit() and int(g) > 2]
    for source, numbers in (("GSM8K", random.sample(gsm, 60)), ("MATH", whole)):
        for gold in numbers:
            n = int(gold)
            # m = n − 3, so that 3 + m = n and n, m differ.
            names = dict(n=gold, m=n - 3, k=n + 1, c=f"{n:,}", l=f"{n:,}".replace(",", "{,}"))
            for form, text in WHOLE.items(): yield source, "right", form, text.format(**names), gold, None
            for form, text in THOUSANDS.items():
                if n > 999: yield source, "right", form, text.format(**names), gold, None
            for form, text in WRONG.items():
                yield source, "wrong", form, text.format(**names), gold, None
    for gold in (g for g in golds if not g.isdigit()):
        tight = re.sub(r"\s*([-+=,(){}])\s*", r"\1", gold)
        loose = re.sub(r"([-+=,()])", r" \1 ", gold)
        left = gold.replace("(", "\\left(").replace(")", "\\right)") if "left" not in gold else gold
        names = dict(g=gold, dfrac=gold.replace("\\frac", "\\dfrac"), tfrac=gold.replace("\\frac", "\\tfrac"), tight=tight, loose=loose, left=left, thin=loose.replace(" ", "\\,"))
        for form, text in LATEX.items(): yield "MATH", "right", "latex " + form, text.format(**names), gold, None
        others = [o for o in golds if o != gold]
        for other in random.sample(others, 6): yield "MATH", "other", "another gold", f"So \\boxed{{{other}}}", gold, None
    for row in random.sample(lines(data / "aqua_rat/test.jsonl"), 60):
        texts = [re.sub(r"^[A-E]\)", "", c["text"]) for c in row["choices"]]
        at = ord(row["answer"]) - 65
        o = (at + 1) % len(texts)
        names = dict(L=row["answer"], l=row["answer"].lower(), M=chr(65 + o), t=texts[at], o=texts[o])
        for form, text in LETTER.items(): yield "AQuA", "right", form, text.format(**names), row["answer"], texts
        if texts[at] != texts[o]:
            for form, text in WRONG_LETTER.items():
                if not (form == "all" and row["answer"] == "E"): yield "AQuA", "wrong", form, text.format(**names), row["answer"], texts

def peer(completion, gold, choices):
    try:
        if choices:
            letters = [StringExtractionConfig(strings=tuple("ABCDE"))]
            return bool(verify(parse(gold, letters), parse(completion, letters)))
        how = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
        return bool(verify(parse(f"${gold}$", how), parse(completion, how)))
    except Exception:
        return False

def program(train, rows, questions=None):
    verdicts = {}
    for with_choices in (False, True):
        part = [(i, row) for i, row in enumerate(rows) if bool(row[5]) == with_choices]
        if not part: continue
        folder = pathlib.Path(tempfile.mkdtemp())
        with open(folder / "rows.jsonl", "w") as out:
            for i, (_, _, _, completion, gold, choices, *_) in part:
                row = {"id": str(i), "question": questions[i] if questions else "q", "completion": completion, "answer": gold}
                out.write(json.dumps(row | ({"choices": choices} if choices else {})) + "\n")
        (folder / "recipe.toml").write_text(RECIPE)
        run = subprocess.run([train, "--quiet", "--recipe", "recipe.toml", "--out", "out"], cwd=folder, capture_output=True, text=True)
        if run.returncode: sys.exit(run.stderr)
        for file in (folder / "out/traces").glob("*.jsonl"):
            for trace in lines(file):
                score = trace["scores"]["answer"]
                verdicts[int(trace["example"])] = (score["value"] if isinstance(score, dict) else score) > 0.5
    return [verdicts[i] for i in range(len(rows))]

def main(train, data, out):
    rows = list(cases(pathlib.Path(data)))
    ours = program(str(pathlib.Path(train).resolve()), rows)
    theirs = [peer(row[3], row[4], row[5]) for row in rows]
    table, apart = {}, []
    for (source, kind, form, completion, gold, _), own, other in zip(rows, ours, theirs):
        entry = table.setdefault(f"{source} | {kind} | {form}", dict(rows=0, program=0, math_verify=0, agree=0))
        entry["rows"] += 1; entry["program"] += own; entry["math_verify"] += other; entry["agree"] += own == other
        if own != other or own != (kind == "right"): apart.append([source, kind, form, completion, gold, own, other])
    for source in ("MATH", "GSM8K", "AQuA"):
        of = lambda kinds: [e for k, e in table.items() if k.split(" | ")[0] == source and k.split(" | ")[1] in kinds]
        total = lambda kinds, key: sum(e[key] for e in of(kinds))
        print(f"{source}: agree {total(('right', 'other'), 'agree')} of {total(('right', 'other'), 'rows')} written forms; program right {total(('right',), 'program')}, math-verify right {total(('right',), 'math_verify')} of {total(('right',), 'rows')}; "
              f"wrong answers that pass: program {total(('wrong', 'other'), 'program')}, math-verify {total(('wrong', 'other'), 'math_verify')} of {total(('wrong', 'other'), 'rows')}")
    json.dump(table, open(out, "w"), indent=0, sort_keys=True)
    json.dump(apart, open(pathlib.Path(tempfile.gettempdir()) / "apart.json", "w"), ensure_ascii=False)

if __name__ == "__main__":
    main(*sys.argv[1:])
