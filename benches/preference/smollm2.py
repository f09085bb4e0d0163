"""Runs the arms of recipes/preference-ladder.toml with a real model on word problems (rows.py writes them): the recipe's stages
but for RFT as their common start and the arm with an NLL term, other data, and the settings below. All arms start from the
SFT checkpoint. With that of an earlier run, the SFT stage is left out: seeds then differ in what comes after it.

Run: python smollm2.py TRAIN ROWS MODEL OUT SEED [SFT]
"""

import pathlib
import re
import subprocess
import sys

TRAIN, ROWS, MODEL, OUT, SEED, *SFT = sys.argv[1:]
HEAD = """
[run]
seed = 0

[data]
train = "{rows}/train.jsonl"
eval = "{rows}/test.jsonl"
prompts_per_step = 16
template.chat = false
template.user = "{{{{ question }}}}\\n"

[policy]
model = "{model}"

[policy.sampling]
max_new_tokens = 48
temperature = 0.7

[optim]
tokens_per_microbatch = 1024

"""
SETTINGS = {
    "sft": ["run.steps=100", "data.train_limit=2000", "optim.lr=1e-4"],
    "explore": ["data.train_limit=160", "rollout.prefix.size=6"],
    "tree": ["data.train_limit=160"],
    "right": ["data.prompts_per_step=64"],
    "rft-again": ["run.steps=30", "optim.lr=2e-5"],
}
for arm in ("outcome", "first-error", "siblings"):
    SETTINGS[arm] = ["run.steps=30", "optim.lr=5e-5", "loop.dpo.loss.beta=0.1"]

recipe = (pathlib.Path(__file__).parents[2] / "recipes/preference-ladder.toml").read_text()
stages = re.split(r"^\[\[stage\]\]\n", recipe, flags=re.MULTILINE)[1:]
left_out = {"sample", "rft", "outcome-nll", *(["sft"] if SFT else [])}
stages = [text for text in stages if re.match(r'name = "(.*?)(-held-out)?"', text)[1] not in left_out]
text = HEAD.format(rows=ROWS, model=MODEL) + "".join("[[stage]]\n" + stage for stage in stages).replace('"@rft"', '"@sft"')
for sft in SFT:
    SETTINGS.pop("sft")
    text = text.replace('"@sft"', f'"{sft}"')
out = pathlib.Path(OUT)
out.parent.mkdir(parents=True, exist_ok=True)
file = out.with_suffix(".toml")
file.write_text(text)
sets = [f"run.seed={SEED}", *(f"stage.{stage}.{each}" for stage, all in SETTINGS.items() for each in all)]
command = [TRAIN, "--recipe", file, "--out", out, *(word for each in sets for word in ("--set", each))]
sys.exit(subprocess.run([*map(str, command), *(["--resume"] if out.exists() else ["-q"])]).returncode)
