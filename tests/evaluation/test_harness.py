import dataclasses
import json

import pytest

from armt.core.errors import ConfigError, DataError
from armt.evaluation.harness import EvaluationConfig, evaluate
from armt.evaluation.record_file import RecordFile
from armt.evaluation.subject import Answer
from evaluation.made_up import MadeUpSubject, MadeUpTask

OPTIONS = EvaluationConfig(lengths=(0, 400), num_samples=5)


@pytest.fixture
def task():
    return MadeUpTask()


def without_time(records):
    return [dataclasses.replace(record, seconds=0.0) for record in records]


def test_every_cell_has_one_record_a_sample_and_arm(task):
    records = evaluate(MadeUpSubject(), task, OPTIONS)
    cells = {(record.length, record.index, record.arm) for record in records}
    assert len(records) == len(cells) == 2 * 5 * 2
    for record in records:
        assert record.scores == dict.fromkeys(
            ("reference", "strict", "exact"), record.answer == record.truth
        )
    assert {record.answer == record.truth for record in records if record.arm == "off"} == {False}
    assert {record.answer == record.truth for record in records if record.arm == "on"} == {True}


def test_a_record_tells_all_that_there_is_to_know(task):
    record = evaluate(MadeUpSubject(), task, OPTIONS)[-1]
    sample = task.sample(400, 4)
    assert (record.subject, record.category, record.knows_facts) == ("made up", "recurrent", True)
    assert (record.subject_fingerprint, record.prompt_hash) == ("s1", "p1")
    assert (record.prompt_set, record.prompt_flags) == ("all", "flags")
    assert (record.task, record.task_fingerprint, record.seed) == ("qa1", "t1", 7)
    assert (record.length, record.index) == (400, 4)
    assert (record.question, record.truth) == (sample.question, sample.answer)
    assert (record.context_len, record.num_dropped) == (sample.context_len, 3)
    assert (record.num_facts, record.supporting_starts) == (2, (sample.facts[1].start,))
    assert record.details == {"why": "because"}
    assert record.metadata == {"placement": "made up"}


def test_a_task_without_labels_is_judged_by_exact_match_alone():
    records = evaluate(MadeUpSubject(), MadeUpTask(task="riddles"), OPTIONS)
    assert {tuple(record.scores) for record in records} == {("exact",)}


def test_where_the_question_stands_does_not_change_the_metrics():
    records = evaluate(MadeUpSubject(), MadeUpTask(task="qa1@both"), OPTIONS)
    assert {record.task for record in records} == {"qa1@both"}
    assert {tuple(record.scores) for record in records} == {("reference", "strict", "exact")}


def test_the_longest_contexts_come_first(task):
    shown = []
    subject = MadeUpSubject()
    _ = evaluate(subject, task, OPTIONS, on_progress=shown.append)
    lengths = [progress.length for progress in shown]
    assert lengths == sorted(lengths, reverse=True)
    assert [shown[-1].num_done, shown[-1].num_samples] == [10, 10]
    assert [progress.num_done for progress in shown] == [3, 5, 8, 10]


def test_a_group_holds_contexts_of_one_length_and_no_more_than_wanted(task):
    subject = MadeUpSubject()
    _ = evaluate(subject, task, OPTIONS)
    assert max(len(group) for group in subject.groups) == subject.about.batch_size
    for group in subject.groups:
        assert len({sample.context_len for sample in group}) == 1


def test_the_task_says_which_samples_there_are(task):
    task.num_missing = 2
    records = evaluate(MadeUpSubject(), task, OPTIONS)
    assert sorted({record.index for record in records if record.length == 400}) == [2, 3, 4]
    assert len(records) == (3 + 5) * 2


def test_the_answers_do_not_depend_on_the_groups(task):
    records = evaluate(MadeUpSubject(), task, OPTIONS)
    found = evaluate(MadeUpSubject(batch_size=1), task, OPTIONS)
    assert without_time(found) == without_time(records)


def test_arms_can_be_chosen(task):
    records = evaluate(MadeUpSubject(), task, dataclasses.replace(OPTIONS, arms=("off",)))
    assert {record.arm for record in records} == {"off"}
    with pytest.raises(ConfigError, match="in the arm 'none'"):
        _ = evaluate(MadeUpSubject(), task, dataclasses.replace(OPTIONS, arms=("none",)))


def test_a_torn_file_is_resumed_and_nothing_is_asked_twice(task, tmp_path):
    path = tmp_path / "records.jsonl"
    records = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path)
    lines = path.read_bytes().splitlines(keepends=True)
    _ = path.write_bytes(b"".join(lines[:7])[:-9])  # six whole records: one group and no more
    subject = MadeUpSubject()
    found = evaluate(subject, task, OPTIONS, record_path=path)
    assert without_time(found) == without_time(records)
    assert sum(len(group) for group in subject.groups) == 7
    assert len(path.read_bytes().splitlines()) == 20
    subject = MadeUpSubject()
    _ = evaluate(subject, task, OPTIONS, record_path=path)
    assert subject.groups == []


def test_an_arm_asked_for_later_is_added(task, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = evaluate(
        MadeUpSubject(), task, dataclasses.replace(OPTIONS, arms=("on",)), record_path=path
    )
    records = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path)
    assert len(records) == len(path.read_bytes().splitlines()) == 20


def test_an_evaluation_that_breaks_keeps_its_finished_groups(task, tmp_path):
    path = tmp_path / "records.jsonl"
    with pytest.raises(KeyboardInterrupt):
        _ = evaluate(MadeUpSubject(breaks_at=3), task, OPTIONS, record_path=path)
    assert len(path.read_bytes().splitlines()) == 10
    found = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path)
    assert without_time(found) == without_time(evaluate(MadeUpSubject(), task, OPTIONS))


@pytest.mark.parametrize("change", ["subject", "prompt", "task"])
def test_records_of_something_else_are_not_mixed_in(change, task, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path)
    other, other_task = MadeUpSubject(), MadeUpTask()
    if change == "subject":
        other.fingerprint = "s2"
    elif change == "prompt":
        other = MadeUpSubject(prompt_hash="p2")
    else:
        other_task.fingerprint = "t2"
    found = evaluate(other, other_task, OPTIONS, record_path=path)
    assert len(found) == 20
    assert len(path.read_bytes().splitlines()) == 40
    assert sum(len(group) for group in other.groups) == 10


@pytest.mark.parametrize("num_processes", [1, 2, 3, 7])
def test_processes_share_the_samples_and_one_file(num_processes, task, tmp_path):
    path = tmp_path / "records.jsonl"
    subjects = [MadeUpSubject() for _ in range(num_processes)]
    for rank, subject in enumerate(subjects):
        shown = []
        found = evaluate(
            subject,
            task,
            OPTIONS,
            record_path=path,
            shard=(rank, num_processes),
            on_progress=shown.append,
        )
        assert shown[-1].num_done == shown[-1].num_samples
    asked = [sum(len(group) for group in subject.groups) for subject in subjects]
    assert sum(asked) == 10
    assert max(asked) - min(asked) <= 1
    assert without_time(found) == without_time(evaluate(MadeUpSubject(), task, OPTIONS))


def test_a_resume_at_another_number_of_processes_asks_only_the_rest(task, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path, shard=(1, 3))
    subjects = [MadeUpSubject(), MadeUpSubject()]
    for rank, subject in enumerate(subjects):
        _ = evaluate(subject, task, OPTIONS, record_path=path, shard=(rank, 2))
    assert sum(len(group) for subject in subjects for group in subject.groups) == 7
    assert len(path.read_bytes().splitlines()) == 20


def test_what_another_process_answered_in_the_meantime_is_not_asked(task, tmp_path):
    path = tmp_path / "records.jsonl"
    other = MadeUpSubject()

    def overtake(progress):
        if not other.groups:
            _ = evaluate(other, task, OPTIONS, record_path=path)

    subject = MadeUpSubject()
    _ = evaluate(subject, task, OPTIONS, record_path=path, on_progress=overtake)
    assert len(subject.groups) == 1
    assert len(path.read_bytes().splitlines()) == 20


def test_a_process_number_that_cannot_be_is_refused(task):
    for shard in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ConfigError, match="Processes are numbered"):
            _ = evaluate(MadeUpSubject(), task, OPTIONS, shard=shard)


def test_a_failure_is_recorded_and_the_evaluation_goes_on(task, tmp_path):
    path = tmp_path / "records.jsonl"
    failing = MadeUpSubject(failing={(400, 1), (0, 3)})
    records = evaluate(failing, task, OPTIONS, record_path=path)
    failed = [record for record in records if record.failure]
    assert {(record.length, record.index) for record in failed} == {(400, 1), (0, 3)}
    assert {record.failure for record in failed} == {"the line went dead"}
    assert not any(any(record.scores.values()) for record in failed)
    assert len(records) == 20
    again = MadeUpSubject()
    _ = evaluate(again, task, OPTIONS, record_path=path)
    assert again.groups == []  # a failure is an answer, unless asked otherwise
    retry = dataclasses.replace(OPTIONS, retry_failures=True)
    found = evaluate(again, task, retry, record_path=path)
    assert sum(len(group) for group in again.groups) == 2
    assert without_time(found) == without_time(evaluate(MadeUpSubject(), task, OPTIONS))
    assert RecordFile(path).records  # later lines of a key count
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 24


def test_a_failure_is_wrong_even_if_nothing_is_the_answer(task):
    subject = MadeUpSubject(failing={(0, 0)})
    subject.failed = Answer(text="garden", failure="cut short")
    records = evaluate(subject, MadeUpTask(answer="garden"), OPTIONS)
    wrong = [record for record in records if not record.scores["exact"] and record.arm == "on"]
    assert [(record.length, record.index) for record in wrong] == [(0, 0)]


def test_a_sample_that_cannot_be_made_is_a_failure(task):
    task.broken = {(400, 2)}
    shown = []
    records = evaluate(MadeUpSubject(), task, OPTIONS, on_progress=shown.append)
    failed = [record for record in records if record.failure]
    assert {(record.length, record.index) for record in failed} == {(400, 2)}
    assert failed[0].failure == "The sample cannot be made: no such facts"
    assert len(records) == 20
    assert shown[-1].num_done == 10


def test_a_damaged_record_file_is_not_overwritten(task, tmp_path):
    path = tmp_path / "records.jsonl"
    _ = path.write_text('{"loss": 1}\n')
    with pytest.raises(DataError, match="no record of an evaluation"):
        _ = evaluate(MadeUpSubject(), task, OPTIONS, record_path=path)
    assert path.read_text() == '{"loss": 1}\n'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"lengths": ()}, "lengths"),
        ({"lengths": (-1,)}, "lengths"),
        ({"arms": ("up",)}, "arms"),
    ],
)
def test_wrong_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        _ = dataclasses.replace(OPTIONS, **changes)
