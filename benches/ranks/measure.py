"""One process of two threads against two ranks of one thread, in turns: seconds of a GRPO step, and bytes over the loopback
interface. python3 benches/ranks/measure.py target/release/train [ROUNDS]; one JSON line a run."""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
LAYOUTS = {
    "one process": [],
    "two ranks": ["devices.ranks=2"],
    "two ranks, shard = optimizer": ["devices.ranks=2", 'devices.shard="optimizer"'],
}


def loopback():
    """Bytes that the loopback interface has sent so far."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith("lo:"))


def run(train, sets):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        command = [train, "--quiet", "--recipe", str(HERE / "step.toml"), "--out", str(out)]
        before = loopback()
        subprocess.run(command + [part for one in sets for part in ("--set", one)], check=True, capture_output=True)
        sent = loopback() - before
        steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        # The first step finds everything cold.
        return sent, [step["step_time"] for step in steps[1:]], steps[-1]["loss"]


def main():
    train, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for number in range(rounds):
        for name, sets in LAYOUTS.items():
            sent, seconds, loss = run(train, sets)
            line = {"round": number, "layout": name, "bytes_sent": sent, "step_seconds": seconds, "loss": loss}
            print(json.dumps(line), flush=True)


main()
