"""A program for `[reward.command]` that makes the calls that a completion ends in, against what the row's interface was recorded to say.

The row has `responses`, what each call gives (`{"user(3)": "41", "town(41)": "17"}`), and `answer`, what the right calls come to. A completion's calls are what
stands behind its last `####`, or all of it; one may stand in another: `town(user(3))`. Tests, whose shares are logged:

* is_call: there is a call;
* is_answered: the interface knows every call that is made;
* is_right: what the last one gives is the answer.

Nothing is run that a model wrote and nothing is sent anywhere: calls are looked up, 64 of a completion at most.
"""

import re

import lines

INNERMOST = re.compile(r"(\w+)\(([^()]*)\)")


def calls_of(completion):
    return completion.rsplit("####", 1)[-1].strip()


def made(text, responses):
    """What is left of a text once each call in it stands for what it gives; None where one is not known."""
    for _ in range(64):
        call = INNERMOST.search(text)
        if call is None:
            return text.strip()
        name, takes = call.groups()
        given = responses.get(f"{name}({','.join(part.strip() for part in takes.split(','))})")
        if given is None:
            return None
        text = text[: call.start()] + str(given) + text[call.end() :]
    return None


def verdict(completion, responses, gold):
    text = calls_of(completion)
    is_call = INNERMOST.search(text) is not None
    value = made(text, responses) if is_call else None
    return {"is_call": is_call, "is_answered": value is not None, "is_right": value is not None and value == str(gold)}


def main():
    lines.answer(lambda asked: verdict(asked["completion"], asked["fields"]["responses"], asked["fields"]["answer"]))


if __name__ == "__main__":
    main()
