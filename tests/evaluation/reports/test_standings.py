from armt.evaluation.reports.standings import own_standings
from evaluation.records import cell

FIVE = [f"qa{number}" for number in range(1, 6)]


def test_the_mean_of_the_five_tasks_counts():
    records = [
        each
        for number, task in enumerate(FIVE)
        for length in (0, 1000)
        for each in cell(number, 4, task=task, length=length, knows_facts=False)
    ]
    [standing] = own_standings(records)
    assert standing.name == "boxed"
    assert standing.accuracies == {0: 50.0, 1000: 50.0}
    assert (standing.note, standing.claimed_len, standing.is_published) == ("", None, False)


def test_a_part_of_the_tasks_is_named_and_a_length_needs_all_of_them():
    records = [*cell(4, 4, task="qa1", length=0), *cell(4, 4, task="qa1", length=1000)]
    records += cell(2, 4, task="qa2", length=0)
    [standing] = own_standings(records)
    assert standing.name == "boxed (qa1, qa2 only)"
    assert standing.accuracies == {0: 75.0}
    assert standing.note == "knew the sentences of the tasks"


def test_other_tasks_arms_and_places_of_the_question_do_not_count():
    for changes in ({"task": "qa6"}, {"arm": "off"}, {"task": "qa1@both"}):
        assert own_standings(cell(4, 4, **changes)) == []


def test_subjects_stand_apart():
    records = [*cell(4, 4, subject="a"), *cell(0, 4, subject="b", arm="none")]
    assert [each.name for each in own_standings(records)] == ["a (qa1 only)", "b (qa1 only)"]


def test_of_several_makings_the_first_counts():
    records = [*cell(4, 4, task_fingerprint="1"), *cell(0, 4, task_fingerprint="2")]
    [standing] = own_standings(records)
    assert standing.accuracies == {1000: 100.0}
