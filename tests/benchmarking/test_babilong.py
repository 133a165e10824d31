"""What is recorded of a model trained on BABILong tasks, and what is measured again."""

from collections import Counter

import pytest
import torch

from armt.benchmarking import babilong
from armt.benchmarking.babilong import ACCURACY, READ, TASK_SEED, WRITTEN, Exam
from armt.benchmarking.records import RecordBook, load_records
from armt.core.errors import DataError
from armt.tasks.babilong import Book, build_store
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.encoder import TokenizerEncoder
from armt.training.run import build_model
from tiny_boxed import PROSE, tiny_tokenizer
from training.runs import carried_run


@pytest.fixture(scope="module")
def encoder():
    return TokenizerEncoder(tiny_tokenizer())


@pytest.fixture
def model(encoder):
    return build_model(carried_run(), encoder)


@pytest.fixture
def exam(encoder, tmp_path, monkeypatch):
    """Questions of qa3, whose stories are long, each taken for answered right."""

    def all_right(_model, _task, _length, indices):
        return Counter(on=len(indices), off=0)

    monkeypatch.setattr(babilong, "count_right", all_right)
    store = build_store([Book("prose", PROSE * 4)], encoder)
    task = BabilongTaskConfig(task="qa3", seed=TASK_SEED, reserve_len=0).build(store, encoder)
    return Exam("r", (task,), store, RecordBook(tmp_path / "found.jsonl", 0, "abc"))


def names(exam) -> Counter[str]:
    return Counter(each.name for each in load_records(exam.book.path))


def test_a_cell_that_some_stories_are_too_long_for_is_measured_once(exam, model):
    assert len(exam.tasks[0].indices("1k", 8)) == 7
    for _ in range(3):
        exam.measure(model, ["1k:8"])
    assert names(exam) == {ACCURACY: 2, READ: 1}
    (read,) = [each for each in load_records(exam.book.path) if each.name == READ]
    assert read.params["batch"] == 7
    exam.measure(model, ["1k:9"])
    assert names(exam) == {ACCURACY: 4, READ: 2}


def test_a_cell_that_all_stories_are_too_long_for_is_refused(exam, model):
    with pytest.raises(DataError, match=r"cell 100:2: none of the first 2 stories of qa3 is short"):
        exam.measure(model, ["100:2"])
    assert not exam.book.path.exists()


def test_other_weights_and_other_options_are_measured_for_themselves(exam, model, encoder):
    others = exam._replace(changes=("recurrence.segment_len=8",))
    changed = build_model(carried_run(), encoder)
    with torch.no_grad():
        next(changed.memory.parameters()).add_(1.0)
    for _ in range(2):
        for each, measured in ((exam, model), (others, model), (exam, changed)):
            each.measure(measured, ["1k:2"])
            each.measure_writes(measured)
    assert names(exam) == {ACCURACY: 6, READ: 3, WRITTEN: 3}
    told = [
        (each.params["changes"], each.params["weights"])
        for each in load_records(exam.book.path)
        if each.name == WRITTEN
    ]
    assert [changes for changes, _ in told] == [[], list(others.changes), []]
    assert told[0][1] == told[1][1] != told[2][1]


def test_stories_longer_than_their_cell_are_read_for_themselves(exam, model, encoder, monkeypatch):
    monkeypatch.undo()
    task = exam.tasks[0]
    lengths = [task.sample("300", index).context_len for index in task.indices("300", 12)]
    assert len(set(lengths)) > 2
    seen: list[int] = []
    read = babilong.count_right_side_by_side

    def watched(model, samples, encoder):
        seen.extend(sample.context_len for sample in samples)
        return read(model, samples, encoder)

    monkeypatch.setattr(babilong, "count_right_side_by_side", watched)
    found = babilong.count_right(model, task, "300", task.indices("300", 12))
    assert sorted(seen) == sorted(lengths)
    assert set(found) == {"on", "off"}
