from armt.evaluation.metrics import Score
from armt.evaluation.reports.reference_files import spell_flags
from armt.evaluation.reports.series import (
    into_series,
    score_of,
    subject_names,
    support_recall,
    task_names,
)
from evaluation.records import cell, judged, record


def test_rows_are_in_the_order_of_tables():
    records = [
        *cell(1, 1, task="qa10", subject="b"),
        *cell(1, 1, task="qa2", subject="a"),
        *cell(1, 1, task="qa2", subject="b", arm="off"),
        *cell(1, 1, task="qa2", subject="b", length=0),
        *cell(1, 1, task="qa2", subject="b"),
    ]
    found = into_series(records)
    assert [(each.subject, each.task, each.arm) for each in found] == [
        ("b", "qa2", "on"),
        ("b", "qa2", "off"),
        ("b", "qa10", "on"),
        ("a", "qa2", "on"),
    ]
    assert list(next(iter(found.values()))) == [0, 1000]


def test_samples_of_another_making_are_never_counted_together():
    records = [*cell(1, 1), *cell(0, 1, task_fingerprint="ef567890")]
    found = into_series(records)
    assert len(found) == 2
    assert set(task_names(found).values()) == {"qa1 [cd34]", "qa1 [ef5678]"}


def test_names_get_hashes_only_where_they_are_not_enough():
    records = [
        record(subject="a", subject_fingerprint="1111111"),
        record(subject="a", subject_fingerprint="2222222"),
        record(subject="b", prompt_hash="33333333"),
        record(subject="b"),
        record(subject="c"),
    ]
    assert list(subject_names(into_series(records)).values()) == [
        "a [111111]",
        "a [222222]",
        "b [prompt 333333]",
        "b [prompt none]",
        "c",
    ]


def test_the_prompts_of_several_tasks_are_one_way_of_asking():
    tasks = ("qa2", "qa1")
    records = [record(task=task, prompt_hash=f"with {task}", prompt_set="11") for task in tasks]
    assert set(subject_names(into_series(records)).values()) == {"boxed"}
    assert [series.task for series in into_series(records)] == ["qa1", "qa2"]
    bare = [record(task=task, prompt_hash=f"bare {task}", prompt_set="22") for task in tasks]
    found = into_series([*records, *bare])
    assert [(subject_names(found)[each.asked], each.task) for each in found] == [
        ("boxed [prompt 11]", "qa1"),
        ("boxed [prompt 11]", "qa2"),
        ("boxed [prompt 22]", "qa1"),
        ("boxed [prompt 22]", "qa2"),
    ]


def test_the_prompts_of_imported_files_are_told_by_their_parts():
    flags = [
        spell_flags({}),
        spell_flags({"examples": True}),
        "instruction_yes_examples_no_post_prompt_yes",
    ]
    records = [record(subject="org/model", prompt_hash=each) for each in flags]
    assert list(subject_names(into_series(records)).values()) == [
        "org/model [prompt bare]",
        "org/model [prompt examples]",
        "org/model [prompt instruction+post_prompt of 3]",
    ]


def test_a_subject_stays_one_if_another_task_got_a_new_prompt_in_between():
    older = record(task="qa2", prompt_hash="of qa2", prompt_set="older")
    newer = record(task="qa1", prompt_hash="of qa1", prompt_set="newer")
    found = into_series([older, newer])
    assert set(subject_names(found).values()) == {"boxed"}
    assert [series.task for series in found] == ["qa1", "qa2"]


def test_a_metric_that_a_task_has_not_gives_no_score():
    records = [record(scores={"exact": True}), record(1, scores=judged(False))]
    assert score_of(records, "exact") == Score(1, 2)
    assert score_of(records, "strict") == Score(0, 1)
    assert score_of(records[:1], "strict") is None


def test_the_recall_of_a_search_is_a_mean():
    assert support_recall([record()]) is None
    found = [record(details={"support_recall": share}) for share in (1, 0.5)]
    assert support_recall([*found, record()]) == 0.75
