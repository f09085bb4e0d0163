"""An environment for `[rollout.environment]` of any task of reasoning-gym (pip install reasoning-gym).

    python3 reasoning_gym_tasks.py leg_counting --config '{"max_animals": 4}' --tries 2

A question of the task is made from the seed of `reset`, so that all episodes of a group have the same one. What the policy says is an answer: what
stands behind its last `####`, or all of it. The task's own scorer says what that is worth; below 1 the policy is told so and may try again, and an
episode is worth its best try. Lines of JSON come in on standard input and go out on standard output; nothing else is written there.
"""

import argparse
import contextlib
import json
import sys

import reasoning_gym


class Episode:
    def __init__(self, task, config, seed, tries):
        self.dataset = reasoning_gym.create_dataset(task, size=1, seed=seed % 2**31, **config)
        self.entry = self.dataset[0]
        self.tries = tries
        self.best = 0.0

    def step(self, action):
        answer = action.rsplit("####", 1)[-1].strip()
        score = float(self.dataset.score_answer(answer=answer, entry=self.entry))
        gained, self.best = max(score - self.best, 0.0), max(score, self.best)
        self.tries -= 1
        done = score >= 1.0 or self.tries == 0
        return {"reward": gained, "done": done, "observation": None if done else "That is not right. Try again."}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a task of reasoning-gym, such as leg_counting")
    parser.add_argument("--config", type=json.loads, default={}, help="the task's settings, as JSON")
    parser.add_argument("--tries", type=int, default=1, help="answers that an episode may have")
    arguments = parser.parse_args()
    out, episodes = sys.stdout, {}
    # What a library prints must not pass for an answer.
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            asked = json.loads(line)
            number = asked["episode"]
            if asked["do"] == "reset":
                episodes[number] = Episode(arguments.task, arguments.config, asked["seed"], arguments.tries)
                said = {"observation": episodes[number].entry["question"]}
            elif asked["do"] == "step":
                said = episodes[number].step(asked["action"])
            else:
                said = {}
            if said.get("done") or asked["do"] == "close":
                del episodes[number]
            print(json.dumps({"n": asked["n"], **said}), file=out, flush=True)


if __name__ == "__main__":
    main()
