import csv
from pathlib import Path

import pytest

from armt.evaluation.metrics import Score
from armt.evaluation.reports.collate import (
    MISSING,
    collate,
    model_panels,
    write_collation,
)
from armt.evaluation.reports.reference_files import ReferenceFile, ScoredFile, spell_flags

NONE = spell_flags({})
FULL = spell_flags({"instruction": True, "examples": True, "chat_template": True})


def scored(task, length, share, *, flags=FULL, model="org/model", strict=0) -> ScoredFile:
    """A file of which `share` in 100 rows are right."""
    file = ReferenceFile(Path("x.csv"), model, task, length, flags)
    return ScoredFile(file, Score(share, 100), Score(strict, 100))


def test_each_task_has_its_best_configuration():
    files = [
        scored("qa1", 0, 90),
        scored("qa1", 1000, 80),
        scored("qa1", 0, 50, flags=NONE),
        scored("qa1", 1000, 50, flags=NONE),
        scored("qa2", 0, 30),
        scored("qa2", 1000, 30),
        scored("qa2", 0, 40, flags=NONE),
        scored("qa2", 1000, 40, flags=NONE),
    ]
    [table] = collate(files)
    assert table.best == {"qa1": (90.0, 80.0), "qa2": (40.0, 40.0)}
    assert table.best_flags == {"qa1": FULL, "qa2": NONE}


def test_an_incomplete_better_configuration_can_lose():
    files = [
        scored("qa1", 0, 100),
        scored("qa1", 0, 60, flags=NONE),
        scored("qa1", 1000, 60, flags=NONE),
    ]
    [table] = collate(files)
    assert table.by_flags[FULL]["qa1"] == (100.0, MISSING)  # mean 49.5
    assert table.best["qa1"] == (60.0, 60.0)


def test_the_average_is_of_the_first_five_rows_and_missing_if_one_is():
    files = [scored(f"qa{n}", length, 10 * n) for n in range(1, 8) for length in (0, 1000)]
    [table] = collate(files)
    assert table.average == (30.0, 30.0)
    [table] = collate([each for each in files if (each.file.task, each.file.length) != ("qa3", 0)])
    assert table.average == (MISSING, 30.0)
    [table] = collate(files[:8])
    assert table.average == (MISSING, MISSING)


def test_rows_and_columns_are_those_known_and_found_unless_chosen():
    files = [scored("qa11", 0, 90), scored("qa2", 777, 90), scored("qa2", 10_000_000, 80)]
    [table] = collate(files)
    assert (table.lengths, list(table.best)) == ((0, 10_000_000), ["qa2"])
    [table] = collate(files, tasks=["qa11"], lengths=[0, 777])
    assert table.best == {"qa11": (90.0, MISSING)}


def test_a_file_without_rows_scores_nothing():
    file = ReferenceFile(Path("x.csv"), "m", "qa1", 0, FULL)
    [table] = collate([ScoredFile(file, Score(0, 0), Score(0, 0))])
    assert table.best == {"qa1": (0.0,)}


def test_strict_scores_make_a_table_of_their_own():
    [table] = collate([scored("qa1", 0, 90, strict=70)], metric="strict")
    assert table.best == {"qa1": (70.0,)}


def test_the_files_are_those_of_the_reference(tmp_path):
    files = [scored(f"qa{n}", 0, 50 + n) for n in range(1, 6)]
    files += [scored("qa1", 1000, 25, model="a/b")]
    paths = write_collation(collate(files), tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == ["a/b.csv", "a/b.pdf", "org/model.csv", "org/model.pdf", "all_results.csv"]
    assert (tmp_path / "org/model.csv").read_text() == (
        ",0k\nqa1,51.0\nqa2,52.0\nqa3,53.0\nqa4,54.0\nqa5,55.0\navg,53.0\n"
    )
    assert (tmp_path / "org/model.pdf").read_bytes().startswith(b"%PDF")
    rows = list(csv.DictReader((tmp_path / "all_results.csv").read_text().splitlines()))
    assert list(rows[0]) == ["model_name", "task", "0k", "1k"]
    assert rows[0] == {"model_name": "a/b", "task": "qa1", "0k": "", "1k": "25.0"}
    assert rows[1]["1k"] == "-1.0"
    assert [row["task"] for row in rows[2:]] == ["qa1", "qa2", "qa3", "qa4", "qa5", "avg"]


def test_there_is_a_heat_map_for_each_configuration():
    files = [scored("qa1", 0, 90), scored("qa1", 1000, 80), scored("qa1", 0, 50, flags=NONE)]
    [table] = collate(files)
    first, second = model_panels(table)
    assert (first.title, first.subtitle, first.columns) == ("model", "", ("0k", "1k"))
    assert second.subtitle == "instruction+examples"  # the chat template is not told
    assert first.values == ((50.0, MISSING),)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_files_does_not_matter(order):
    files = [scored("qa1", 0, 90), scored("qa1", 0, 90, flags=NONE), scored("qa1", 0, 5, model="b")]
    assert collate(files[::order]) == collate(files)
