"""One process of two threads against two ranks of one thread, in turns: seconds of a GRPO step, bytes over the loopback
interface, and the most memory of a rank. python3 benches/ranks/measure.py target/release/train [ROUNDS]; one JSON line a run."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
LAYOUTS = {
    "one process": [],
    "two ranks": ["devices.ranks=2"],
    "two ranks, shard = optimizer": ["devices.ranks=2", 'devices.shard="optimizer"'],
    "two ranks, shard = parameters": ["devices.ranks=2", 'devices.shard="parameters"'],
}


def loopback():
    """Bytes that the loopback interface has sent so far."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith("lo:"))


def resident(launcher):
    """The most bytes that each process, the one or its children, has had resident."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue
        if launcher in (int(fields["PPid"]), int(fields["Pid"])) and "VmHWM" in fields:
            yield int(fields["VmHWM"].split()[0]) * 1024


def run(train, sets):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        command = [train, "--quiet", "--recipe", str(HERE / "step.toml"), "--out", str(out)]
        before = loopback()
        command += [part for one in sets for part in ("--set", one)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max([peak, *resident(process.pid)])
            time.sleep(0.02)
        assert process.returncode == 0
        sent = loopback() - before
        steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        # The first step finds everything cold.
        return sent, peak, [step["step_time"] for step in steps[1:]], steps[-1]["loss"]


def main():
    train, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for number in range(rounds):
        for name, sets in LAYOUTS.items():
            sent, peak, seconds, loss = run(train, sets)
            line = {"round": number, "layout": name, "bytes_sent": sent, "peak_of_a_rank": peak}
            line |= {"step_seconds": seconds, "loss": loss}
            print(json.dumps(line), flush=True)


main()
