"""The rows hold together: what they name is there, and their records are found again."""

import json
from collections import Counter

import pytest

from armt.benchmarking.records import RecordBook, load_records
from armt.reproduction.row import RESULTS, ROWS, Row
from armt.reproduction.work import MeasureSpeed

NAMES = [card.name for card in ROWS]


@pytest.fixture(params=NAMES)
def row(request) -> Row:
    return ROWS[request.param].entry()


def recall(**changes) -> Row:
    work = MeasureSpeed(("read",), ("tiny",))
    options = {"work": work, "tiny": work, "records": ("run-{seed}",), "figures": ("a.b",)}
    return Row(**(options | {"keys": ("at",), "times": ("c.d",)} | changes))


def test_a_row_is_recorded_and_its_figures_are_told_apart(row):
    recorded = row.recorded(0)
    assert recorded, f"{row.records} holds nothing of seed 0"
    shown = [each for each in recorded if each.name in row.figures]
    assert {each.name for each in shown} == set(row.figures)
    twice = [key for key, number in Counter(map(row._key, shown)).items() if number > 1]
    assert twice == []


def test_a_row_finds_itself_in_its_own_record(row):
    recorded = row.recorded(0)
    pairs = row.beside(recorded, recorded)
    assert len(pairs) == sum(each.name in row.figures for each in recorded)
    assert all(pair.measured == pair.recorded for pair in pairs)


def test_the_small_form_is_another(row):
    assert row.tiny != row.work
    assert row.tiny.told != row.work.told
    assert row.tiny.reads_text == row.work.reads_text


def test_the_last_figure_counts_and_what_is_not_recorded_says_so(tmp_path):
    then, now = RecordBook(tmp_path / "run-1.jsonl", 1, "abc"), tmp_path / "now.jsonl"
    old = then.add("a.b", 1.0, "s", at=1)
    _ = then.add("c.d", 60.0, "s")
    _ = then.add("c.d", 30.0, "s")
    measured = [
        RecordBook(now, 1, "def").add(name, value, "s", at=at)
        for name, value, at in (("a.b", 2.0, 1), ("a.b", 3.0, 1), ("a.b", 4.0, 2), ("c.d", 5.0, 1))
    ]
    row = recall()
    recorded = row.recorded(1, tmp_path)
    assert row.seconds(recorded) == 90.0
    assert row.beside(measured, recorded) == [
        (measured[1], "at 1", old),
        (measured[2], "at 2", None),
    ]


def test_a_file_of_several_rows_gives_each_its_own(tmp_path):
    book = RecordBook(tmp_path / "run-0.jsonl", 0, "abc")
    mine, _ = (book.add("a.b", 1.0, "s", recipe=recipe) for recipe in ("mine", "yours"))
    anyones = book.add("c.d", 1.0, "s")
    assert recall(only={"recipe": "mine"}).recorded(0, tmp_path) == [mine, anyones]


def test_the_last_of_several_files_counts(tmp_path):
    row = recall(records=("run-{seed}", "again-{seed}"))
    first, again = (RecordBook(tmp_path / f"{name}-0.jsonl", 0, "abc") for name in ("run", "again"))
    kept, _ = (first.add("a.b", 1.0, "s", at=at) for at in (1, 2))
    parts = [first.add("c.d", seconds, "s") for seconds in (1.0, 2.0)]
    newer = again.add("a.b", 3.0, "s", at=2)
    assert row.recorded(0, tmp_path) == [kept, newer, *parts]


def test_without_records_there_is_nothing_to_compare(row, tmp_path):
    assert row.recorded(0, tmp_path) == []
    assert row.recorded(10**6) == []
    assert row.seconds([]) is None


def test_another_seed_finds_its_own_record():
    row = ROWS["babilong-qa1"].entry()
    accuracies = {
        seed: [each.value for each in row.recorded(seed) if each.name == "babilong.accuracy"]
        for seed in (0, 1, 2)
    }
    assert len({json.dumps(each) for each in accuracies.values()}) == 3
    newest = load_records(RESULTS / "h100-2026-11-28-qa1-overlap-seed-1.jsonl")
    assert sorted(accuracies[1]) == sorted(
        each.value for each in newest if each.name == "babilong.accuracy"
    )
