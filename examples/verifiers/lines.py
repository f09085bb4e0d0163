"""What the verifiers of this folder have in common: a line of JSON for each completion comes in, and its verdict goes out (docs/rewards.md)."""

import json
import sys


def answer(verdict):
    """Answers each line with the tests that `verdict` says of it, by name, and 1 where all of them are passed."""
    for line in sys.stdin:
        asked = json.loads(line)
        tests = verdict(asked)
        print(json.dumps({"n": asked["n"], "score": float(all(tests.values())), "tests": tests}), flush=True)
