"""Best of n, weighted vote and majority from the traces of recipes/logic-orm.toml's last two stages, and the class balance of
what its two reward models learned from. Every n is the mean over draws of n of the 16 chains of each question, with the
half-width of a 95 % interval over questions. Standard library only. Run: python best_of_n.py RUN
"""

import collections
import json
import pathlib
import random
import statistics
import sys

RUN = pathlib.Path(sys.argv[1])
DRAWS = 200


def traces(stage):
    return [json.loads(line) for line in (RUN / "traces" / f"{stage}.jsonl").read_text().splitlines()]


def right(trace):
    return trace["predicted"] is not None and trace["predicted"].strip() == trace["answer"]


def scored(stage, key):
    """Question -> its chains as (answer, right, score)."""
    out = collections.defaultdict(list)
    for trace in traces(stage):
        question = trace.get("question")
        out[question].append((trace["predicted"], right(trace), trace["scores"][key]))
    return out


def majority(chains):
    return voted(chains, lambda _: 1.0)


def weighted(chains):
    return voted(chains, lambda score: score)


def voted(chains, weight):
    votes, first = collections.Counter(), {}
    for answer, good, score in chains:
        if answer is not None:
            votes[answer] += weight(score)
            first.setdefault(answer, good)
    # Of equals the answer that came first.
    return bool(votes) and first[max(first, key=lambda answer: votes[answer])]


def best(chains):
    return max(chains, key=lambda chain: chain[2])[1]


def auroc(chains):
    good, bad = ([score for _, is_good, score in chains if is_good == kind] for kind in (True, False))
    won = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return won / (len(good) * len(bad)) if good and bad else float("nan")


def accuracy(questions, choose, count, draw):
    shares = []
    for chains in questions.values():
        draws = [choose(draw.sample(chains, count)) for _ in range(DRAWS if count < len(chains) else 1)]
        shares.append(statistics.mean(draws))
    return statistics.mean(shares), 1.96 * statistics.stdev(shares) / len(shares) ** 0.5


def main():
    cot, fooled = traces("cot"), traces("fooled")
    count = lambda all: {"chains": len(all), "right": sum(map(right, all))}
    print(json.dumps({"cot": count(cot), "echo": count(traces("echo")), "fooled": count(fooled)}))
    for name in ("cot", "echo"):
        chains = scored(f"scored-by-{name}", "process")
        print(json.dumps({"orm": name, "questions": len(chains), "auroc": auroc(sum(chains.values(), []))}))
        for n in (1, 2, 4, 8, 16):
            draw = random.Random(n)
            line = {"orm": name, "n": n}
            for kind, choose in [("majority", majority), ("best", best), ("weighted", weighted)]:
                mean, half = accuracy(chains, choose, n, draw)
                line[kind], line[kind + "_half"] = round(mean, 4), round(half, 4)
            print(json.dumps(line))


if __name__ == "__main__":
    main()
