import dataclasses

import pytest

from armt.core.errors import ConfigError
from armt.evaluation import harness
from armt.evaluation.harness import EvaluationConfig, evaluate, fingerprint_text
from armt.tasks.babilong import BabilongTask, Book, build_store
from tiny_boxed import PROSE, tiny_boxed

OPTIONS = EvaluationConfig(lengths=(0, 400), num_samples=5, batch_size=3, max_answer_len=2)


@pytest.fixture(scope="module")
def boxed():
    return tiny_boxed()


@pytest.fixture(scope="module")
def task(boxed):
    return BabilongTask(build_store([Book("prose", PROSE * 3)], boxed.encoder), boxed.encoder)


@pytest.fixture(scope="module")
def records(boxed, task):
    return evaluate(boxed.model, boxed.encoder, task, OPTIONS)


def without_time(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def test_every_cell_has_one_record_a_sample_and_arm(records):
    cells = {(record.length, record.index, record.arm) for record in records}
    assert len(records) == len(cells) == 2 * 5 * 2
    assert all(record.truth and record.question.startswith("Where is") for record in records)
    assert all(record.is_correct == (record.answer == record.truth) for record in records)


def test_the_longest_contexts_come_first(boxed, task):
    shown = []
    _ = evaluate(boxed.model, boxed.encoder, task, OPTIONS, on_progress=shown.append)
    lengths = [progress.length for progress in shown]
    assert lengths == sorted(lengths, reverse=True)
    assert [shown[-1].num_done, shown[-1].num_samples] == [10, 10]


def test_the_answers_do_not_depend_on_the_groups(boxed, task, records):
    alone = dataclasses.replace(OPTIONS, batch_size=1)
    found = evaluate(boxed.model, boxed.encoder, task, alone)
    assert without_time(found) == without_time(records)


def test_a_torn_file_is_resumed_and_nothing_is_asked_twice(boxed, task, records, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = evaluate(boxed.model, boxed.encoder, task, OPTIONS, record_path=path)
    lines = path.read_bytes().splitlines(keepends=True)
    _ = path.write_bytes(b"".join(lines[:7])[:-9])  # six whole records: one group and no more
    shown = []
    found = evaluate(
        boxed.model, boxed.encoder, task, OPTIONS, record_path=path, on_progress=shown.append
    )
    assert without_time(found) == without_time(records)
    assert next(progress.num_done for progress in shown) > 3
    assert len(path.read_bytes().splitlines()) == 20
    again = []
    _ = evaluate(
        boxed.model, boxed.encoder, task, OPTIONS, record_path=path, on_progress=again.append
    )
    assert again == []


def test_an_evaluation_that_breaks_keeps_its_finished_groups(
    boxed, task, records, tmp_path, monkeypatch
):
    path, num_calls, ask = tmp_path / "records.jsonl", 0, harness.answer_samples

    def break_at_third(*args, **options):
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            raise KeyboardInterrupt
        return ask(*args, **options)

    monkeypatch.setattr(harness, "answer_samples", break_at_third)
    with pytest.raises(KeyboardInterrupt):
        _ = evaluate(boxed.model, boxed.encoder, task, OPTIONS, record_path=path)
    assert len(path.read_bytes().splitlines()) == 10
    monkeypatch.setattr(harness, "answer_samples", ask)
    found = evaluate(boxed.model, boxed.encoder, task, OPTIONS, record_path=path)
    assert without_time(found) == without_time(records)


def test_records_of_another_model_or_seed_are_not_mixed_in(boxed, task, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = evaluate(boxed.model, boxed.encoder, task, OPTIONS, record_path=path)
    other = tiny_boxed(seed=1)
    found = evaluate(other.model, other.encoder, task, OPTIONS, record_path=path)
    assert {record.model for record in found} == {fingerprint_text(other.model)}
    assert fingerprint_text(other.model) != fingerprint_text(boxed.model)
    assert len(path.read_bytes().splitlines()) == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"batch_size": 0}, "batch_size"),
        ({"lengths": ()}, "lengths"),
        ({"lengths": (-1,)}, "lengths"),
        ({"arms": ("up",)}, "arms"),
    ],
)
def test_wrong_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        _ = dataclasses.replace(OPTIONS, **changes)
