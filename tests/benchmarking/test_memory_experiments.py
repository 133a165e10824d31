"""The script that trains and compares memories goes on after a stop without a gap."""

from collections import Counter

import memory_experiments
import pytest

from armt.benchmarking.records import load_records
from armt.core.errors import StoppedError

SMALL = [
    "backbone.d_model=16", "backbone.num_layers=2", "backbone.num_heads=2", "backbone.d_ffn=16",
    "memory.d_retriever=4", *(f"stages.{number}.batch_size=2" for number in range(6)),
    *(f"stages.{number}.num_steps={int(number == 5)}" for number in range(6)),
]  # fmt: skip


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Calls the script for a run with M+ in small; returns what it has recorded so far."""
    monkeypatch.setattr(memory_experiments, "_NUMS_DISTRACTORS", (0, 6))

    def call():
        places = ["--folder", str(tmp_path / "runs"), "--results", str(tmp_path / "found.jsonl")]
        asked = ["--recipes", "titled_mplus_retriever", "--seeds", "0", "--num-samples", "4"]
        monkeypatch.setattr("sys.argv", ["x.py", *places, *asked, "--set", *SMALL])
        memory_experiments.main()
        return load_records(tmp_path / "found.jsonl")

    return call


@pytest.mark.parametrize("name", ["_measure", "_measure_retriever"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_stop_between_two_figures_costs_neither(recorded, monkeypatch, name, place):
    measure = getattr(memory_experiments, name)

    def stop(*arguments):
        if place == "after":
            measure(*arguments)
        raise StoppedError("Stopped.", exit_code=143)

    monkeypatch.setattr(memory_experiments, name, stop)
    with pytest.raises(SystemExit):
        _ = recorded()
    monkeypatch.setattr(memory_experiments, name, measure)
    found = Counter((each.name, each.params.get("distractors")) for each in recorded())
    tests = [("recall.exact_match", 0), ("recall.exact_match", 6)]
    tests += [("retriever.recall", 0), ("retriever.recall", 6)]  # in two arms, or two layers
    assert found == {("train.seconds", None): 1} | dict.fromkeys(tests, 2)
    assert len(recorded()) == found.total()
