"""Kills evaluations at random moments and lets others go on; run by `test_killed.py`.

    python kill_evaluations.py FILE NUM_KILLS

Writes what happened as JSON. The processes are forked, so that only the first has to import.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from armt.evaluation.harness import EvaluationConfig, evaluate
from evaluation.made_up import MadeUpSubject, MadeUpTask

OPTIONS = EvaluationConfig(lengths=(0, 400, 500), num_samples=80)
PATIENCE_S = 20.0


def run(path, shard, pause_s=0.001):
    return evaluate(
        MadeUpSubject(pause_s=pause_s), MadeUpTask(), OPTIONS, record_path=path, shard=shard
    )


def start(path, shard):
    """Forks a process that evaluates its share."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _ = run(path, shard)
    finally:
        os._exit(0)


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def wait_for_growth(path, nbytes):
    """Waits until the file has grown, if it still does."""
    start_size, deadline = size_of(path), time.monotonic() + PATIENCE_S
    while size_of(path) < start_size + nbytes and time.monotonic() < deadline:
        time.sleep(0.0002)


def kill_once(path, chance):
    """Runs one to three processes until a random moment; returns how many were alive then."""
    num_processes = chance.randint(1, 3)
    pids = [start(path, (rank, num_processes)) for rank in range(num_processes)]
    wait_for_growth(path, chance.randint(0, 4000))
    time.sleep(chance.uniform(0, 0.004))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return sum(os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL for pid in pids)


def main():
    path, num_kills = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(3)
    num_killed, sizes = 0, []
    for number in range(num_kills):
        num_killed += kill_once(path, chance) > 0
        if number % 3 == 2 and size_of(path) > 300:  # what a power cut would leave
            with path.open("r+b") as file:
                _ = file.truncate(size_of(path) - chance.randint(1, 200))
        sizes.append(size_of(path))
    resumed = run(path, (0, 1), pause_s=0.0)
    whole = run(path.with_name("whole.jsonl"), (0, 1), pause_s=0.0)
    untimed = [[{**each.to_dict(), "seconds": 0} for each in found] for found in (resumed, whole)]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    places = [(line["length"], line["index"], line["arm"]) for line in lines]
    told = {
        "num_killed": num_killed,
        "sizes": sizes,
        "is_same": untimed[0] == untimed[1],
        "num_records": len(resumed),
        "num_lines": len(lines),
        "num_places": len(set(places)),
    }
    _ = sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
