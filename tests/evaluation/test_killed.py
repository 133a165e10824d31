import json
import os
import subprocess
import sys
from pathlib import Path

NUM_KILLS = 20
NUM_RECORDS = 3 * 80 * 2
TESTS = Path(__file__).parents[1]


def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path):
    result = subprocess.run(
        [sys.executable, TESTS / "evaluation" / "kill_evaluations.py", tmp_path / "r.jsonl", "20"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["num_killed"] == NUM_KILLS, told
    assert len(set(told["sizes"])) > NUM_KILLS // 2, "The kills came at too few moments."
    assert told["is_same"]
    assert told["num_records"] == told["num_lines"] == told["num_places"] == NUM_RECORDS
