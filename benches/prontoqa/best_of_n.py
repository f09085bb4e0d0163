"""Best of n, weighted vote and majority from the traces of recipes/logic-orm.toml's last two stages, and the class balance of
what its two reward models learned from. Every n is the mean over draws of n of the 8 chains of each question, with the half-width
of a 95 % interval over questions. Standard library only. Run: python best_of_n.py RUN > seed-SEED.jsonl
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


def once(traces):
    """Of each row, its last trace: a stage's last step is filled up with rows that it has had."""
    return list({trace["example"]: trace for trace in traces}.values())


def scored():
    """By reward model: question -> its first eight chains as (answer, right, score), in one order for both."""
    again = {trace["example"]: trace["scores"]["process"] for trace in traces("scored-by-echo")}
    out = {"cot": collections.defaultdict(list), "echo": collections.defaultdict(list)}
    for trace in traces("scored-by-cot"):
        if len(out["cot"][trace["question"]]) < 8:
            for name, score in [("cot", trace["scores"]["process"]), ("echo", again[trace["id"]])]:
                out[name][trace["question"]].append((trace["predicted"], right(trace), score))
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


KINDS = {"majority": majority, "best": best, "weighted": weighted}


def auroc(chains):
    good, bad = ([score for _, is_good, score in chains if is_good == kind] for kind in (True, False))
    won = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return won / (len(good) * len(bad)) if good and bad else float("nan")


def bootstrap(names, figure):
    """95 % interval of a figure of some questions' chains, over questions."""
    draw = random.Random(0)
    found = sorted(figure(draw.choices(names, k=len(names))) for _ in range(DRAWS))
    return [round(found[int(DRAWS * share)], 4) for share in (0.025, 0.975)]


def shares(questions, choose, count):
    """Of each question, the share of draws of `count` chains whose choice is right."""
    draw = random.Random(count)
    repeat = DRAWS if count < max(map(len, questions.values())) else 1
    return [statistics.mean(choose(draw.sample(chains, count)) for _ in range(repeat)) for chains in questions.values()]


def interval(values):
    return [round(statistics.mean(values), 4), round(1.96 * statistics.stdev(values) / len(values) ** 0.5, 4)]


def balance(chains):
    """Right and wrong chains, and both by the question's answer."""
    counts = collections.Counter((trace["answer"], right(trace)) for trace in chains)
    of = lambda pick: sum(number for key, number in counts.items() if pick(key))
    out = {"chains": len(chains), "right": of(lambda key: key[1]), "wrong": of(lambda key: not key[1])}
    return out | {answer: {"right": counts[answer, True], "wrong": counts[answer, False]} for answer in "TF"}


def main():
    cot, echo, fooled = traces("cot"), traces("echo"), once(traces("fooled"))
    print(json.dumps({"cot": balance(cot), "echo": balance(echo), "fooled": balance(fooled), "both": balance(cot + fooled)}))
    found = scored()
    ranked = lambda name, picked: auroc(sum((found[name][question] for question in picked), []))
    for name, questions in found.items():
        chains = sum(questions.values(), [])
        agree = statistics.mean((score >= 0.5) == good for _, good, score in chains)
        told = {"questions": len(questions), "right": round(statistics.mean(good for _, good, _ in chains), 4)}
        told |= {"accuracy": round(agree, 4), "auroc": round(auroc(chains), 4)}
        print(json.dumps({"orm": name, **told, "auroc_interval": bootstrap(list(questions), lambda picked: ranked(name, picked))}))
        for n in (1, 2, 4, 8):
            rates = {kind: shares(questions, choose, n) for kind, choose in KINDS.items()}
            gain = [best - voted for best, voted in zip(rates["best"], rates["majority"])]
            line = {kind: interval(values) for kind, values in rates.items()} | {"best_over_majority": interval(gain)}
            print(json.dumps({"orm": name, "n": n} | line))
    gain = bootstrap(list(found["cot"]), lambda picked: ranked("echo", picked) - ranked("cot", picked))
    print(json.dumps({"auroc_gain_interval": gain}))


if __name__ == "__main__":
    main()
