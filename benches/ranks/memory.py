"""The most memory of a rank in each phase of a step, as its timeline has it, against what --dry-run says; Markdown on standard output.

python3 benches/ranks/memory.py [PART OF A ROW'S NAME …] [--steps N]"""

import json
import os
import re
import subprocess
import sys
import tempfile

TRAIN = os.path.abspath(os.environ.get("TRAIN", "target/release/train"))
TOKENS = 256
PHASES = ["opening", "sampling", "learning", "update", "saving"]
SHAPES = {
    "tiny": "hidden_size = 32\nlayers = 2\nheads = 2\nkv_heads = 2\n",
    "25M": "hidden_size = 512\nlayers = 8\nheads = 8\nkv_heads = 8\n",
    "57M": "hidden_size = 768\nlayers = 8\nheads = 12\nkv_heads = 12\n",
    "words": "hidden_size = 384\nlayers = 6\nheads = 6\nkv_heads = 2\n",
}
METHODS = {
    "sft": "[data]\nprompts_per_step = {prompts}\n[loop.sft]\n",
    "grpo": "[data]\nprompts_per_step = {prompts}\n[rollout.group]\nsize = 8\n[reward.length]\nmax_tokens = 32\nbuffer = 31\n[loop.grpo]\n",
}
RECIPE = """
[run]
steps = {steps}
[policy]
dtype = "{dtype}"
{lora}
[policy.init]
{tokenizer}
context = 128
{shape}
[policy.sampling]
max_new_tokens = 32
[optim]
lr = 1e-5
tokens_per_microbatch = {tokens}
[data]
template.chat = false
max_prompt_tokens = 16
[data.task.addition]
digits = [4]
train = 2000
[devices]
policy = "cpu"
ranks = {ranks}
threads = {ranks}
shard = "{shard}"
trace = true
[log]
tensorboard = false
[checkpoint]
every = 2
"""
CASES = [
    (shape, dtype, method, lora, ranks, shard)
    for shape, dtype, method, lora in [
        ("tiny", "f32", "sft", 0),
        ("tiny", "f32", "grpo", 0),
        ("25M", "f32", "sft", 0),
        ("25M", "f32", "grpo", 0),
        ("57M", "f32", "sft", 0),
        ("words", "f32", "sft", 0),
        ("25M", "bf16", "sft", 0),
        ("25M", "f32", "grpo", 8),
    ]
    for ranks, shard in [(1, "none"), (2, "none"), (2, "optimizer"), (2, "parameters"), (3, "optimizer"), (3, "parameters")]
]


def recipe(case, steps):
    shape, dtype, method, lora, ranks, shard = case
    letters = "0123456789+=:# \\n" + "".join(chr(0x4E00 + i) for i in range(8000) if shape == "words")
    text = RECIPE.format(
        steps=steps,
        tokens=TOKENS,
        dtype=dtype,
        lora=f"lora = {{ rank = {lora} }}" if lora else "",
        tokenizer=f'tokenizer = "characters"\nalphabet = "{letters}"',
        shape=SHAPES[shape],
        ranks=ranks,
        shard=shard,
    )
    each = {"sft": 12, "grpo": 2}[method]
    tail = METHODS[method].format(prompts=each * ranks)
    prompts = re.search(r"prompts_per_step = \d+\n", tail)[0]
    return text.replace("[data]\n", "[data]\n" + prompts) + tail.replace("[data]\n" + prompts, "")


def number(text):
    value, unit = text.split()
    return float(value) * {"GB": 1000, "MB": 1, "kB": 0.001}[unit]


def planned(folder):
    said = subprocess.run([TRAIN, "--recipe", f"{folder}/r.toml", "--out", f"{folder}/run", "--dry-run"], capture_output=True, text=True)
    found = re.findall(r"^# +(\w+) ([\d.]+ [kMG]B)(?::|$)", said.stdout, re.M)
    return {phase: number(size) for phase, size in found}, said.stdout


def measured(folder, ranks):
    peaks = {}
    for rank in range(ranks):
        for event in json.load(open(f"{folder}/run/timeline/rank-{rank}.json")):
            if "peak_bytes" in event.get("args", {}):
                name = {"batch": "sampling"}.get(event["name"], event["name"])
                peaks[name] = max(peaks.get(name, 0), event["args"]["peak_bytes"] / 1e6)
    return peaks


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    print("| | phase: planned, measured MB, off by |")
    print("| --- | --- |")
    for case in CASES:
        name = " ".join(str(part) for part in case if part != 0)
        if words and not any(word in name for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            open(f"{folder}/r.toml", "w").write(recipe(case, 2))
            plan, said = planned(folder)
            run = subprocess.run([TRAIN, "--quiet", "--recipe", f"{folder}/r.toml", "--out", f"{folder}/run"], capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"{name}: {run.stderr}")
            found = measured(folder, case[4])
            if os.environ.get("KEEP"):
                os.makedirs(os.environ["KEEP"], exist_ok=True)
                json.dump({"plan": plan, "said": said, "peaks": found}, open(f"{os.environ['KEEP']}/{name.replace(' ', '-')}.json", "w"))
        of = [f"{phase} {plan.get(phase, 0):.0f}, {found[phase]:.0f}, {100 * (plan.get(phase, 0) / found[phase] - 1):+.0f} %" for phase in PHASES if phase in found]
        print(f"| {name} | {'; '.join(of)} |", flush=True)


main()
