import os
import signal
from collections import Counter

import pytest

from armt.benchmarking.records import load_records
from armt.comparison import run, trials
from armt.comparison.config import SETTINGS
from armt.comparison.run import DONE, FAILED, failures_in, run_comparison
from armt.core.errors import DataError, DeviceError, StoppedError
from armt.training.trainer import Trainer
from comparison.small import measured, small_comparison
from training.runs import retrieval_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished comparison, its config and its figures."""
    folder = tmp_path_factory.mktemp("comparison")
    config = small_comparison(folder / "books", memories=("armt", "memlong", "rmt_r"))
    return folder, config, run_comparison(config, folder)


def test_every_memory_has_every_figure(finished):
    _, config, records = finished
    counts = Counter((each.params["mechanism"], each.name) for each in records)
    arms, segments = 2, config.language.run.stages[-1].stream.num_segments
    for mechanism in config.memories:
        assert {name: counts[mechanism, name] for _, name in counts} == {
            "retrieval.exact_match": 2 * arms,
            "memory.state_bytes": 2,
            "babilong.accuracy": 2 * arms,
            "lm.bits_per_byte": segments * arms,
            "memory.parameters": 1,
            "train.tokens_per_s": 1,
            "read.tokens_per_s": 1,
            DONE: 3,
        }


def test_sizes_are_those_of_one_row(finished):
    _, _, records = finished
    sizes = {
        (each.params["mechanism"], each.params["segments"]): each.value
        for each in records
        if each.name == "memory.state_bytes"
    }
    # two layers, 24 features of 16 channels in single precision
    assert sizes["armt", 1] == sizes["armt", 4] == 2 * 24 * 16 * 4
    assert sizes["rmt_r", 4] > sizes["rmt_r", 1]


def test_what_is_recorded_is_not_run_again(finished, monkeypatch):
    folder, config, records = finished
    monkeypatch.setattr(trials, "MEASURES", dict.fromkeys(trials.MEASURES))
    begun = []
    assert run_comparison(config, folder, begun.append) == records
    assert begun == []
    assert list((folder / "runs").iterdir()) == []


def test_a_stopped_comparison_goes_on(tmp_path, monkeypatch):
    config = small_comparison(tmp_path / "books")
    whole = dict(trials.MEASURES)

    def stopped(part, folder):
        raise StoppedError("Stopped.", exit_code=130)

    monkeypatch.setitem(trials.MEASURES, "qa1", stopped)
    with pytest.raises(StoppedError):
        _ = run_comparison(config, tmp_path)
    monkeypatch.setitem(trials.MEASURES, "qa1", whole["qa1"])
    begun = []
    records = run_comparison(config, tmp_path, begun.append)
    assert [each.trial.part for each in begun] == ["qa1", "qa1", "language", "language"]
    assert sum(each.name == DONE for each in records) == 6


def stop_after(monkeypatch, step: int) -> None:
    """Asks trainings to stop at a step, once."""
    count = Trainer._count

    def counting(self, *arguments):
        count(self, *arguments)
        if self.progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
            monkeypatch.setattr(Trainer, "_count", count)

    monkeypatch.setattr(Trainer, "_count", counting)


@pytest.mark.parametrize("step", [2, 4])
def test_a_training_that_was_stopped_keeps_its_speeds(tmp_path, monkeypatch, step):
    """Also one that was stopped at its last step, of which nothing is left to train."""
    run = retrieval_run(4)
    told = []
    monkeypatch.setattr(trials, "median", lambda speeds: told.extend(speeds) or 1.0)
    stop_after(monkeypatch, step)
    with pytest.raises(StoppedError):
        _ = trials._train(run, tmp_path)
    assert told == []
    assert trials._train(run, tmp_path).tokens_per_s == 1.0
    assert len(told) == 4
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_training_whose_speeds_are_gone_is_told(tmp_path, monkeypatch):
    stop_after(monkeypatch, 4)
    with pytest.raises(StoppedError):
        _ = trials._train(retrieval_run(4), tmp_path)
    [log] = tmp_path.glob("runs/*/log.jsonl")
    log.unlink()
    with pytest.raises(DataError, match=r"log\.jsonl' is gone, .* to train anew"):
        _ = trials._train(retrieval_run(4), tmp_path)


def test_a_memory_that_fails_is_told_and_the_others_go_on(tmp_path):
    # longer than the positions: fifteen sensory tokens of segments of four
    config = small_comparison(
        tmp_path / "books", memories=("hmt", "none"), memory_options=("hmt.num_sensory=15",)
    )
    records = run_comparison(config, tmp_path)
    [reason] = failures_in(records)["hmt"]
    assert reason.startswith("retrieval, seed 0: ConfigError: This memory needs segments of")
    assert Counter(each.params["mechanism"] for each in records if each.name == DONE) == {
        "hmt": 2,
        "none": 3,
    }


def test_a_gpu_that_cannot_be_used_any_more_ends_it_and_what_failed_comes_last(
    tmp_path, monkeypatch
):
    config = small_comparison(tmp_path / "books")
    whole = dict(trials.MEASURES)

    def broken(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nSearch for")

    monkeypatch.setitem(trials.MEASURES, "retrieval", broken)
    monkeypatch.setattr(run, "free_memory", broken)
    begun = []
    with pytest.raises(DeviceError, match=r"'armt, retrieval, seed 0' .*access was encountered\)"):
        _ = run_comparison(config, tmp_path, begun.append)
    assert [each.trial.title for each in begun] == ["armt, retrieval, seed 0"]
    [record] = load_records(tmp_path / "records.jsonl")
    assert record.name == FAILED
    monkeypatch.undo()
    monkeypatch.setattr(trials, "MEASURES", dict.fromkeys(whole, lambda *_: []))
    _ = run_comparison(config, tmp_path, begun.append)
    assert begun[1].trial.title == "none, retrieval, seed 0"
    assert begun[-1].trial.title == "armt, retrieval, seed 0"
    assert len(begun) == 1 + 6


def test_a_failure_counts_until_it_works():
    failed = measured(FAILED, 1, reason="ConfigError: no")
    assert failures_in([failed]) == {"armt": ["retrieval, seed 0: ConfigError: no"]}
    assert failures_in([failed, measured(DONE, 1.0)]) == {}
    assert list(failures_in([measured(DONE, 1.0), failed])) == ["armt"]


def test_books_that_are_not_there_end_it_at_once(tmp_path):
    config = SETTINGS["smoke"].entry().replaced("text.background", str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match=r"no file or folder"):
        _ = run_comparison(config, tmp_path / "out")
    assert not (tmp_path / "out" / "records.jsonl").exists()
