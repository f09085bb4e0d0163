"""A program for `[reward.command]` that tests executable functional abstractions (EFAGen, Khan et al. 2025, arXiv 2504.09763), recipes/efagen.toml.

A completion has a Python class, in a block of code or alone: `original()` and `sample()` make instances, `render()` says the problem of one and `solve()` its
answer. It is scored 1 where it passes all tests, whose shares are logged:

* is_extractable: there is a class with these methods;
* is_executable: samples are made, rendered and solved without an error, in time;
* has_dof: at least two of five samples differ;
* single_valued: solving a sample again gives the same;
* matches_original: the original problem's answer is the row's.

What runs it has no network and no files of yours (confined.py). That is against accidents and easy tricks: code that searches its own interpreter can still
find how a verdict is written.
"""

import re
import secrets

import confined
import lines

HARNESS = '''
def _run(word, code):
    import json
    space = {"__name__": "efa"}
    exec(compile(code, "completion", "exec"), space)
    methods = ("original", "sample", "render", "solve")
    found = [value for value in space.values()
             if isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)]
    said = {"is_extractable": bool(found)}
    if found:
        samples = [found[-1].sample() for _ in range(5)]
        texts = [str(one.render()) for one in samples]
        answers = [str(one.solve()) for one in samples]
        said["is_executable"] = True
        said["has_dof"] = len(set(texts)) > 1
        said["single_valued"] = answers == [str(one.solve()) for one in samples]
        said["answer"] = str(found[-1].original().solve())
    print("\\n" + word + json.dumps(said))
'''

TESTS = ("is_extractable", "is_executable", "has_dof", "single_valued", "matches_original")


def code_of(completion):
    blocks = re.findall(r"```(?:python)?\n(.*?)```", completion, re.DOTALL)
    return "\n".join(blocks) if blocks else completion


def number(text):
    try:
        return float(str(text).replace(",", "").strip().lstrip("$").rstrip("%"))
    except ValueError:
        return None


def same(answer, gold):
    a, b = number(answer), number(gold)
    return abs(a - b) <= 1e-6 * max(1.0, abs(b)) if a is not None and b is not None else str(answer).strip() == str(gold).strip()


def verdict(completion, gold):
    # A verdict begins with a word that the code is not told, so that it does not print one of its own.
    word = secrets.token_hex(16)
    out, ended = confined.run(f"{HARNESS}\n_run({word!r}, {code_of(completion)!r})")
    said = confined.signed(out, word) if ended else None
    said = said if isinstance(said, dict) else {}
    said["matches_original"] = "answer" in said and same(said["answer"], gold)
    return {name: said.get(name) is True for name in TESTS}


def main():
    lines.answer(lambda asked: verdict(asked["completion"], (asked["gold"] or "").rsplit("####", 1)[-1].strip()))


if __name__ == "__main__":
    main()
