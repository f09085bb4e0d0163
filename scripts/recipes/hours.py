"""Reckons how long the recipes take that need a model or rows of the hub, and prints a line a recipe.

usage: python3 hours.py [--stages] [RECIPE ...]
       python3 hours.py --calibrate

The line begins with what the column "minutes" of recipes/README.md says; --stages adds a line a stage, --calibrate prints what was measured beside what this reckons instead.

Seconds are tokens over speeds. What stands below are the recipes' own sizes (steps, rows, passes, samples), the mean lengths of GSM8K and CommonsenseQA
in SmolLM2's tokens, and what SmolLM2-135M-Instruct writes, which is the least certain: how long it goes on, and how often it is right. An endpoint's and a
verifier's own time is left out.
"""

import dataclasses, sys

# Speeds of SmolLM2-135M in bf16 on two cores of an AMD EPYC (Zen 4, AVX-512 with bf16), two threads, nothing else running. "Measured for this" are seconds of
# processor time of one thread, on that machine full of other work.
# Learning: benches/speed, a GRPO step of 14.9 and 15.3 s less its sampling (2 048 tokens at 334 and 369 a second): 2 560 tokens in 9.2 s. Measured for this: three
# steps of 8 rows of GSM8K, 4 628 tokens in 27.8 s with their updates, 178 a second without; so two cores are 1.6 of one.
LEARN = 285.0
CORES = 1.6
# Of LEARN: the output projection is a fifth of the products, and reward models have none; of adapters the weights' own gradients, a third, are left out.
NO_HEAD, LORA = 1.2, 1.4
# Reading alone: benches/speed, 3 360 more tokens of prompts in 8.0 s of one thread, 420 a second. Measured for this: the loss of 32 held-out rows, 5 800 tokens in 9.9 s, 590.
READ = 500.0 * CORES
# A step of sampling with n sequences in flight takes STEP + SEQUENCE * n seconds: 339 tokens a second of 32, 430 of 64. benches/speed: 334 and 369 of 32, their prompts
# among it. Measured for this: of 64, 266 tokens a second of one thread; of 8, 80.
STEP, SEQUENCE = 0.040, 0.0017
# An update of all weights (AdamW with f32 masters; measured for this: some 0.7 s of one thread), of adapters, and what a stage takes to open and to save.
UPDATE, UPDATE_LORA, STAGE = 0.4, 0.05, 5.0
# Three layers of 96 over characters, f32, of one core: what the two minutes of recipes/preference-ladder.toml (1.2 million tokens learned, 0.65 read, 1.4 sampled) and the seven
# of recipes/star-arithmetic.toml (5.4 and 1.5, four layers) come to together.
SMALL_LEARN, SMALL_SAMPLE, SMALL_STAGE = 20600.0, 28000.0, 1.0

# GSM8K: 7 473 rows; tokens of a prompt in its chat template and of a rationale with its answer (`train preview`).
ROWS, PROMPT, RATIONALE = 7473, 90, 94
# What SmolLM2-135M-Instruct writes (benches/gsm8k: 162 tokens of at most 200 where it is wrong, 124 where it is right, 2 % right). Taught by GSM8K's rows it
# writes as long as they are.
BASE, RIGHT, RATE, TAUGHT = 162, 124, 0.02, 100
# Of 16 samples a question at that rate, one in five has one that is right, and then 1.6 of them: some are easy. (Were all alike, it would be one in four.)
SOLVED_16, RIGHT_OF_SOLVED = 0.20, 1.6
EVAL = 200


@dataclasses.dataclass
class Stage:
    name: str
    sampled: float = 0
    slots: int = 64
    # How full the slots are in the mean: a batch waits for its longest.
    full: float = 0.9
    read: float = 0
    learned: float = 0
    updates: float = 0
    lora: bool = False
    head: bool = True
    small: bool = False
    times: int = 1

    def parts(self):
        if self.small:
            seconds = [self.sampled / SMALL_SAMPLE, self.read / (3 * SMALL_LEARN), self.learned / SMALL_LEARN]
            return [self.times * each for each in seconds]
        sample = STEP / (self.full * self.slots) + SEQUENCE
        learn = LEARN * (LORA if self.lora else 1) * (1 if self.head else NO_HEAD)
        update = UPDATE_LORA if self.lora else UPDATE
        seconds = [self.sampled * sample, self.read / READ, self.learned / learn + self.updates * update]
        return [self.times * each for each in seconds]

    def seconds(self):
        return sum(self.parts()) + self.times * (SMALL_STAGE if self.small else STAGE)


def asked(tokens, times=1, samples=1, prompt=PROMPT, questions=EVAL, held_out=0):
    """An evaluation: questions asked, and rows whose loss is measured."""
    return Stage("evaluation", sampled=questions * samples * tokens, read=questions * (prompt + held_out), times=times)


def sft(name, rows, tokens, passes, batch, **more):
    return Stage(name, learned=rows * tokens * passes, updates=rows * passes / batch, **more)


def collect(name, samples, tokens, questions=ROWS, prompt=PROMPT, **more):
    return Stage(name, sampled=questions * samples * tokens, read=questions * prompt, **more)


def pairs(name, questions, tokens, batch, passes=1, reference=True, **more):
    """Preferences: of each question `tokens`, those that its pairs share counted once."""
    learned = questions * tokens * passes
    return Stage(name, learned=learned, read=learned if reference else 0, updates=questions * passes / batch, **more)


# By recipe: what its rows are where it brings none, and its stages.
RECIPES = {}


def recipe(name, *stages, rows=None, note=""):
    RECIPES[name] = (rows, note, [stage for stage in stages])


row = PROMPT + RATIONALE

# First steps.
recipe("gsm8k-sft", sft("sft", ROWS, row, 1, 32), asked(BASE, held_out=row), asked(TAUGHT, held_out=row))
# 100 steps of 8 x 8; of ten groups eight have no variance and are dropped; asked at 0, 50 and 100.
recipe("gsm8k-grpo", Stage("grpo", sampled=100 * 64 * 150, read=100 * 8 * PROMPT, learned=0.2 * 100 * (64 * 150 + 8 * PROMPT), updates=90), asked(150, 3))
# 8 samples three times over.
recipe("gsm8k-evaluate", asked(BASE, samples=24))
recipe("gsm8k-collect", collect("collect", 8, BASE))
recipe("rationale-vs-direct",
       sft("rationale", ROWS, row + 8, 3, 64), asked(TAUGHT, samples=10, held_out=row + 8),
       sft("direct", ROWS, PROMPT + 7, 3, 64), asked(6, samples=10, held_out=PROMPT + 7))

# Self-training. STaR: 800 questions a round and those that failed once more; four examples are read once for 32 questions; 40, 48, 58 and 69 steps of 8.
recipe("star-gsm8k",
       Stage("sampling", sampled=800 * 1.98 * 100, slots=32, full=0.65, read=2 * 800 * 60 + 50 * 320, times=4),
       Stage("learning", learned=215 * 8 * (PROMPT + 90), updates=215), asked(100, 5, prompt=70))
# 28 % solved by one of four, the others asked four times more with the hint.
recipe("star-commonsenseqa",
       Stage("sampling", sampled=800 * 1.72 * 4 * 50, read=800 * 1.72 * 60 + 50 * 420, slots=32, full=0.65, times=4),
       Stage("learning", learned=215 * 8 * (80 + 45), updates=215), asked(50, 5, prompt=70))
kept = ROWS * 8 * RATE * 0.9
recipe("rft-gsm8k", collect("sampling", 8, BASE), sft("learning", kept, PROMPT + RIGHT, 3, 16), asked(BASE), asked(RIGHT))
kept = 1000 * 4 * RATE
recipe("rest-gsm8k", collect("sampling", 4, BASE, questions=1000, times=3),
       sft("learning", kept * (1 + 2 + 3), PROMPT + RIGHT, 1, 16), asked(150, 4))
# Explored by what was taught, which ends by itself; of 8 samples 15 % of the questions have one that is right, pooled over three rounds, two passes each.
pool = ROWS * 0.15 * 1.2
recipe("still-2", sft("imitate", ROWS, row, 2, 16), asked(TAUGHT, held_out=row),
       collect("explore", 8, 110, times=3, full=0.7), sft("improve", pool * (1 + 1.6 + 2.1), row, 2, 16), asked(TAUGHT, 3))
# 50 programs a problem, of at most 512 tokens; next to none passes, so learning is nothing.
recipe("efagen", collect("sample", 50, 350, questions=7426, prompt=210, times=3), Stage("train", times=3), note="the programs")
# Annotations are 12 tokens a call, 3.2 calls a row. Reinforced: one group of five differs.
recipe("gsm8k-calculator", asked(190, held_out=222), sft("called", ROWS, row + 38, 1, 32), asked(130, held_out=222),
       Stage("reinforced", sampled=100 * 64 * 125, full=0.6, read=100 * (8 * PROMPT + 64 * 150), learned=0.2 * 100 * (64 * 135 + 8 * PROMPT), updates=90), asked(130))
recipe("reasoning-gym",
       Stage("grpo", sampled=100 * 64 * 180 * 1.95, full=0.6, read=100 * (8 * 120 + 64 * 300), learned=0.3 * 100 * (64 * 430), updates=90))

# Preferences. A question with a right sample has about three pairs, whose prompt and right side are read once.
of_pairs = PROMPT + RIGHT_OF_SOLVED * RIGHT + 3 * BASE
recipe("iterative-dpo", collect("collect", 16, BASE, times=3), pairs("dpo", ROWS * SOLVED_16, of_pairs, 16, times=3), asked(BASE, 6))
recipe("rpo", collect("explore", 10, 150), pairs("optimise", ROWS * 0.14, PROMPT + 6 * 130, 32, reference=False), asked(BASE), asked(RIGHT))
# Nearly all wrong ones stop at the first cut: four continuations each.
recipe("self-explore", collect("sample", 16, BASE), sft("rft", ROWS * 16 * RATE * 0.9, PROMPT + RIGHT, 1, 32), asked(RIGHT),
       collect("explore", 8, RIGHT, full=0.8), Stage("continuations", sampled=ROWS * 8 * 0.97 * 1.15 * 4 * 110),
       pairs("dpo", ROWS * 0.3, PROMPT + 2.5 * 150, 32), asked(RIGHT))
recipe("planning-dpo", collect("values", 4, BASE), Stage("continuations", sampled=ROWS * 4 * 1.4 * 3 * 125),
       sft("prm", ROWS * 4, PROMPT + BASE, 1, 32, head=False), collect("trajectories", 10, BASE),
       Stage("scored", read=ROWS * (PROMPT + 10 * BASE)), pairs("dpo", ROWS * 0.15, PROMPT + 12 * BASE, 32))
recipe("rationale-preferences", pairs("dpo", 1000, 60 + 3 * 120, 32), rows=1000)
# Four questions at a time; half of them end within their first chunk, so that a question has about two other ways, of which some stop at once.
recipe("flow-dpo", Stage("first ways", sampled=ROWS * 190, slots=4, full=0.8, read=ROWS * PROMPT),
       Stage("other ways", sampled=ROWS * 230, slots=8, full=0.7, read=ROWS * (PROMPT + 1.3 * 280)),
       Stage("pairs", learned=ROWS * 0.08 * 450, read=ROWS * 0.08 * 450, updates=ROWS * 0.08, lora=True),
       sft("compile", ROWS * 0.025, PROMPT + RIGHT, 3, 16, lora=True))
recipe("self-rationalizing-judge", collect("judge", 16, 100, questions=1000, prompt=250, times=2),
       pairs("dpo", 1000, 250 + 6 * 100, 32, times=2), rows=1000)

# Faithful rationales.
recipe("frodo", pairs("writer", 1000, PROMPT + 2 * RATIONALE, 8, passes=3), pairs("reader", 1000, PROMPT + 2 * (RATIONALE + 12), 8, passes=3, reference=False),
       rows=1000, note="the endpoint")
# CommonsenseQA: 9 741 rows of 76 tokens. One in ten of the samples is right (benches/star: 28 % of the questions by one of four) and asks about five options.
right = 9741 * 16 * 0.10
recipe("crest", collect("judge", 16, 90, questions=9741, prompt=76), Stage("follow_up", sampled=right * 5 * 6, read=right * (76 + 5 * 110)),
       asked(60, 2), sft("sft", right / 3, 165, 4, 8, lora=True), pairs("prefer", 15000, 76 + 2 * 90, 8, passes=4, lora=True))
recipe("poda-contrastive", sft("sft", 2500, 450, 1, 16), Stage("contrast", learned=1800 * 2 * 450, updates=150), rows=1000, note="the endpoint")

# Teaching and reward models. VARR reads a row's answer behind 4 rationales, but for a tenth of the steps.
recipe("varr", sft("full", ROWS, row, 3, 32), asked(TAUGHT, 2, held_out=row),
       Stage("reduced", read=ROWS * 3 * 0.9 * 4 * 110), sft("varr", ROWS, row - 8, 3, 32))
recipe("prm800k", sft("prm", 480, 309, 1, 8, head=False), Stage("evaluation", read=200 * 373 + 140 * 200))
# Measured for this: of at most 256 tokens, asked to write a step a line, eight completions had LONG each and CUTS places to go on from, each anew by up to 256.
LONG, CUTS, ON = 230, 5.4, 170
label = Stage("label", sampled=6400 * (LONG + CUTS * 8 * ON), read=1600 * 100)
recipe("math-shepherd", label, sft("prm", 6400, 100 + LONG, 1, 32))
recipe("prm-consensus", label, sft("prm", 6400 * 0.4, 100 + LONG, 1, 32, head=False), note="the endpoint")
recipe("logic-orm", sft("warmup and reader", 48 * 16, 77, 1, 16), asked(12, 3, prompt=62, questions=48, held_out=77),
       Stage("cot and echo", sampled=2 * 960 * 12, full=0.6, read=2 * 240 * 62), Stage("fooled", read=300 * 77),
       sft("two reward models", 80 * 16, 77, 1, 16, head=False), Stage("scored", sampled=744 * 12, full=0.6, read=2 * 93 * 70 + 4 * 744 * 77, times=1))

# A small model of bytes, without what the endpoint takes: 300 steps of 16 rows of 251 tokens, 128 completions, 200 questions.
recipe("dcr", Stage("writer", learned=300 * 16 * 251, small=True), Stage("judged", sampled=128 * 130, small=True), Stage("mended", small=True),
       Stage("taught", learned=128 * 2 * 251, small=True), Stage("asked", sampled=200 * 130, small=True), note="the endpoint")

# Small models of two layers of 64, which are faster than what SMALL_LEARN is of. Reports have 105 characters with their choices, plans and rationales 35, an answer 10; what prompts have in common is learned
# once a group. A frozen model reads each of 128 completions a step, in a prompt of its own.
recipe("vr-cli", Stage("writer", learned=500 * 16 * 220, small=True), Stage("planner", learned=300 * 16 * 115, small=True), Stage("longer", learned=150 * 16 * 115, small=True),
       Stage("reinforced", sampled=150 * 128 * 35, read=150 * (16 * 80 + 128 * 35 + 128 * 130), learned=150 * (16 * 80 + 128 * 35), small=True),
       Stage("asked, with what comes next", sampled=1200 * 35, read=1200 * 140, small=True, times=3))
recipe("lm-guided", Stage("reader", learned=400 * 16 * 250, small=True), Stage("distilled", learned=300 * 16 * 140, small=True), Stage("longer", learned=150 * 16 * 140, small=True),
       Stage("reinforced", sampled=150 * 128 * 45, read=150 * 128 * 150, learned=150 * (16 * 105 + 128 * 40), small=True),
       Stage("asked, and the reader", sampled=300 * 45, read=300 * 150, small=True, times=5))

# What was measured, in seconds, on how many cores, and its stages.
MEASURED = [
    ("benches/speed: GRPO step, 4 x 8 of 64 tokens (LEARN and STEP are fitted to it)", 15.1, 2,
     [Stage("", sampled=2048, slots=32, full=1.0, read=512), Stage("", learned=2560, updates=1)]),
    ("benches/gsm8k: SFT, 348 054 tokens in 87 steps, 412 questions asked", 44 * 60, 2,
     [Stage("", learned=348054, updates=87), asked(29, prompt=70, questions=412, held_out=95)]),
    ("benches/gsm8k: a step of GRPO, 64 of 24 tokens", 12.9, 2,
     [Stage("", sampled=64 * 24, full=24 / 64, read=8 * 70), Stage("", learned=64 * 24 + 8 * 70, updates=1)]),
    ("benches/gsm8k: all 48 of them, 412 questions asked", 11.6 * 60, 2,
     [Stage("", sampled=64 * 24, full=24 / 64, read=8 * 70, times=48), Stage("", learned=64 * 24 + 8 * 70, updates=1, times=48), asked(24, prompt=70, questions=412)]),
    ("benches/prm800k: 480 rows, 340 held out", 13 * 60, 1,
     [Stage("", learned=480 * 309, updates=60, head=False), Stage("", read=200 * 373 + 140 * 200)]),
    ("benches/preference: recipes/preference-ladder.toml, a seed (SMALL_LEARN and SMALL_SAMPLE are fitted to it)", 120, 1,
     [Stage("", sampled=1.42e6, read=0.65e6, learned=1.23e6, small=True)]),
    ("benches/star: recipes/star-arithmetic.toml, a seed (SMALL_LEARN and SMALL_SAMPLE are fitted to it)", 420, 1,
     [Stage("", sampled=1.5e6 * 4 / 3, learned=5.4e6 * 4 / 3, small=True)]),
    ("measured for this: 3 steps of SFT (LEARN is fitted to it), processor time", 27.8, 1, [Stage("", learned=4628, updates=3)]),
    ("measured for this: 64 sequences, steps 7 to 39 of sampling (STEP is fitted to it), processor time", 7.68, 1, [Stage("", sampled=2041, full=1.0)]),
    ("measured for this: 8 sequences, 792 tokens, processor time", 10.0, 1, [Stage("", sampled=792, slots=8, full=1.0)]),
    ("measured for this: held-out loss of 32 rows, processor time", 9.85, 1, [Stage("", read=5800)]),
]


def hours(stages):
    return sum(stage.seconds() for stage in stages) / 3600


def said(hours):
    """As the index says it: minutes, hours or days, to one figure, to two between 1 and 3 and between 10 and 20 hours."""
    figures = lambda number, count: f"{float(f'{number:.{count}g}'):g}"
    if hours < 1.45:
        return f"≈ {figures(hours * 60, 1)}"
    if hours > 96:
        return f"≈ {figures(hours / 24, 2)} days"
    return f"≈ {figures(hours, 2 if hours < 3 or 10 <= hours < 20 else 1)} h"


if __name__ == "__main__":
    if "--calibrate" in sys.argv:
        for name, measured, cores, stages in MEASURED:
            reckoned = sum(sum(stage.parts()) for stage in stages) * (CORES if cores == 1 and not stages[0].small else 1)
            print(f"| {name} | {measured:.1f} s | {reckoned:.1f} s | {reckoned / measured - 1:+.0%} |")
        sys.exit()
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or RECIPES
    for name in names:
        rows, note, stages = RECIPES[name]
        total = hours(stages)
        sums = [sum(column) / 3600 for column in zip(*(stage.parts() for stage in stages))]
        cell = said(total) + (f" a {rows:,} rows".replace(",", " ") if rows else "") + (f", without {note}" if note else "")
        print(f"{name:25} {cell:42} {total:7.2f} h: sampling {sums[0]:.2f}, reading {sums[1]:.2f}, learning {sums[2]:.2f}")
        for stage in stages if "--stages" in sys.argv else []:
            tokens = [f"{what} {stage.times * getattr(stage, what):,.0f}" for what in ("sampled", "read", "learned")]
            print(f"    {stage.name:20} {stage.seconds() / 3600:6.2f} h:", ", ".join(tokens))
