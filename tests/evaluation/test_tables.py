import csv
import io

import pytest

from armt.evaluation.tables import Cell, cell_scores, to_csv, to_markdown
from evaluation.records import cell


@pytest.fixture
def records():
    return [
        *cell(1, 4, arm="off", length=16000),
        *cell(4, 4, length=16000),
        *cell(3, 4, length=0),
        *cell(2, 4, task="qa2", length=0),
    ]


def test_cells_are_counted_and_ordered(records):
    scores = cell_scores(records)
    assert list(scores) == [
        Cell("qa1", "on", 0),
        Cell("qa1", "on", 16000),
        Cell("qa1", "off", 16000),
        Cell("qa2", "on", 0),
    ]
    assert [tuple(score) for score in scores.values()] == [(3, 4), (4, 4), (1, 4), (2, 4)]


def test_the_markdown_table_has_a_row_for_each_task_and_arm(records):
    assert to_markdown(records).splitlines() == [
        "| task | memory | 0k | 16k |",
        "| --- | --- | ---: | ---: |",
        "| qa1 | on | 75.0 [30.1, 95.4] | 100.0 [51.0, 100.0] |",
        "| qa1 | off |  | 25.0 [4.6, 69.9] |",
        "| qa2 | on | 50.0 [15.0, 85.0] |  |",
    ]


def test_the_csv_table_can_be_read_back(records):
    rows = list(csv.DictReader(io.StringIO(to_csv(records))))
    assert len(rows) == 4
    first = rows[0]
    assert (first["task"], first["arm"], first["length"]) == ("qa1", "on", "0")
    assert float(first["accuracy"]) == 0.75
    assert float(first["low"]) == pytest.approx(0.3006, abs=1e-4)
    assert float(first["chance"]) == 1.0


def test_no_records_give_an_empty_table():
    assert to_markdown([]).splitlines() == ["| task | memory |", "| --- | --- |"]
    assert len(to_csv([]).splitlines()) == 1
