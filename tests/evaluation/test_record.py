import json
import math

import pytest

from armt.core.errors import DataError, StorageError
from armt.evaluation.json_lines import JsonLines
from armt.evaluation.record import RecordFile
from evaluation.records import record


def test_records_come_back_from_the_file(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    records = [record(0), record(1, answer="täglich\n", is_correct=False)]
    RecordFile(path).append(records)
    assert RecordFile(path).records == records


def test_a_torn_last_line_does_not_count_and_is_removed(tmp_path):
    path = tmp_path / "records.jsonl"
    RecordFile(path).append([record(0), record(1)])
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 2 - 1):
        _ = path.write_bytes(whole[:-cut])
        file = RecordFile(path)
        assert file.records == [record(0)]
        file.append([record(2)])
        assert RecordFile(path).records == [record(0), record(2)]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "records.jsonl"
    RecordFile(path).append([record(0), record(1)])
    lines = path.read_text().splitlines()
    _ = path.write_text("\n".join([lines[0][:-5], lines[1], ""]))
    with pytest.raises(DataError, match="line 1, is damaged"):
        _ = RecordFile(path)


def test_a_line_of_something_else_is_named(tmp_path):
    path = tmp_path / "records.jsonl"
    _ = path.write_text('{"loss": 1.0}\n')
    with pytest.raises(DataError, match="line 1, is no record of an evaluation"):
        _ = RecordFile(path)
    _ = path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1, is no record"):
        _ = RecordFile(path)


def test_of_two_records_with_one_key_the_later_counts(tmp_path):
    file = RecordFile(tmp_path / "records.jsonl")
    file.append([record(0), record(0, answer="office", is_correct=False)])
    assert [each.answer for each in file.records] == ["office"]


def test_numbers_that_json_does_not_know_are_spelled(tmp_path):
    lines = JsonLines(tmp_path / "log.jsonl")
    lines.append([{"loss": math.nan, "norm": math.inf, "deep": [{"x": -math.inf}]}])
    text = (tmp_path / "log.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] == "NaN"
    assert lines.read() == [{"loss": "NaN", "norm": "Infinity", "deep": [{"x": "-Infinity"}]}]


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    _ = (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="Cannot append to"):
        JsonLines(tmp_path / "file" / "log.jsonl").append([{"a": 1}])
    with pytest.raises(DataError, match="Cannot read"):
        _ = JsonLines(tmp_path / "folder").read()
