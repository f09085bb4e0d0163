"""How often the first cut without a good continuation stands behind the first wrong line, and what finding one cost, from a run of
recipes/omega-prm.toml. What is right is what a right completion of the same question says. Standard library only.
Run: python first_errors.py RUN
"""

import json
import pathlib
import sys

RUN = pathlib.Path(sys.argv[1])


def lines(name):
    return [json.loads(line) for line in (RUN / name).read_text().splitlines()]


traces = lines("traces/label.jsonl")
right = {t["question"]: t["completion"].split("\n") for t in traces if t["predicted"] == t["answer"]}
found, same, distinct = 0, 0, set()
for trace in traces:
    failing = [cut for cut in trace.get("cuts", []) if cut["good"] == 0]
    if not failing:
        continue
    first = min(failing, key=lambda cut: cut["step"])
    distinct.add((trace["example"], trace["step"], tuple(trace["completion_ids"][: first["tokens"]])))
    if trace["predicted"] == trace["answer"] or trace["question"] not in right:
        continue
    both = zip(trace["completion"].split("\n"), right[trace["question"]])
    true = next((at for at, (ours, theirs) in enumerate(both) if ours != theirs), None)
    found += 1
    same += true == first["step"] - 1
steps = [line for line in lines("metrics.jsonl") if line["stage"] == "label" and line.get("labels/count")]
labels = sum(line["labels/count"] for line in steps)
tokens = {
    kind: sum(line["labels/count"] * line["labels/" + kind] for line in steps)
    for kind in ("tokens", "written", "naive_tokens", "naive_written")
}
print(json.dumps({
    "labels": labels,
    **{kind + "_a_label": round(value / labels, 1) for kind, value in tokens.items()},
    "first_errors": len(distinct),
    "tokens_a_first_error": round(tokens["tokens"] / len(distinct), 1),
    "wrong_completions_with_a_failing_cut": found,
    "of_these_at_the_first_wrong_line": same,
}))
