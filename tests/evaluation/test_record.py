import json
import math

import pytest
from filelock import FileLock

from armt.core.errors import DataError, StorageError
from armt.evaluation import json_lines, record_file
from armt.evaluation.json_lines import JsonLines
from armt.evaluation.record import Record
from armt.evaluation.record_file import RecordFile
from evaluation.records import judged, record


def test_records_come_back_from_the_file(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    records = [record(0), record(1, answer="täglich\n", scores=judged(False), details={"k": [1]})]
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


def test_a_file_of_an_older_library_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    old = {"task": "qa1", "length": 0, "index": 0, "arm": "on", "is_correct": True}
    _ = path.write_text(json.dumps(old) + "\n")
    with pytest.raises(DataError, match="version none; this library writes and reads version 2"):
        _ = RecordFile(path)
    _ = path.write_text(json.dumps(record().to_dict() | {"version": 3}) + "\n")
    with pytest.raises(DataError, match="version 3"):
        _ = RecordFile(path)


@pytest.mark.parametrize(
    "change",
    [
        {"length": "1000"},
        {"length": True},
        {"knows_facts": 1},
        {"scores": {"exact": 1}},
        {"scores": []},
        {"supporting_starts": [1.5]},
        {"surprise": 1},
        {"answer": None},
    ],
)
def test_wrong_fields_are_named(change):
    name = next(iter(change))
    with pytest.raises(DataError, match=name):
        _ = Record.from_dict(record().to_dict() | change)


def test_older_records_know_nothing_of_what_came_later():
    row = record().to_dict()
    del row["prompt_set"], row["prompt_flags"]
    assert Record.from_dict(row) == record()


def test_missing_fields_are_named():
    row = record().to_dict()
    del row["truth"]
    with pytest.raises(DataError, match="truth"):
        _ = Record.from_dict(row)


def test_every_part_of_the_key_makes_a_record_another_one(tmp_path):
    changes = [
        {},
        {"subject_fingerprint": "x"},
        {"prompt_hash": "x"},
        {"task_fingerprint": "x"},
        {"task": "qa2"},
        {"length": 0},
        {"index": 1},
        {"arm": "off"},
    ]
    file = RecordFile(tmp_path / "records.jsonl")
    file.append([record(**change) for change in changes])
    assert len(RecordFile(tmp_path / "records.jsonl").records) == len(changes)


def test_a_key_is_kept_once(tmp_path):
    path = tmp_path / "records.jsonl"
    mine, other = RecordFile(path), RecordFile(path)
    mine.append([record(0), record(0, answer="office")])
    other.append([record(0, answer="school"), record(1)])
    assert [each.answer for each in other.records] == ["garden", "garden"]
    mine.refresh()
    assert mine.records == other.records == RecordFile(path).records
    assert len(path.read_text().splitlines()) == 2


def test_only_a_failure_can_be_replaced_and_only_if_asked(tmp_path):
    path = tmp_path / "records.jsonl"
    file = RecordFile(path)
    file.append([record(0, failure="too late", answer=""), record(1)])
    file.append([record(0), record(1, answer="office")])
    assert [each.failure for each in file.records] == ["too late", ""]
    file.append([record(0), record(1, answer="office")], replaces_failures=True)
    assert [each.failure for each in file.records] == ["", ""]
    assert [each.answer for each in RecordFile(path).records] == ["garden", "garden"]


def test_the_metric_asked_for_must_be_there():
    assert record(scores={"reference": False, "exact": True}).is_right("exact")
    with pytest.raises(DataError, match="strict"):
        _ = record(scores={"exact": True}).is_right("strict")


class CountingFile:
    """Counts the bytes that are read from a file."""

    num_read = 0

    def __init__(self, file):
        self.file = file

    def seek(self, *place):
        return self.file.seek(*place)

    def read(self, *size):
        content = self.file.read(*size)
        CountingFile.num_read += len(content)
        return content


def test_appending_reads_nothing_but_the_end(tmp_path, monkeypatch):
    lines = JsonLines(tmp_path / "log.jsonl")
    lines.append([{"text": "x" * 1000}] * 300)
    find_end = json_lines._whole_nbytes
    monkeypatch.setattr(json_lines, "_whole_nbytes", lambda file: find_end(CountingFile(file)))
    lines.append([{"last": 1}])
    assert 0 < CountingFile.num_read <= 1 << 16
    assert lines.read()[-1] == {"last": 1}
    assert len(lines.read()) == 301


def test_a_torn_line_longer_than_one_look_is_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    JsonLines(path).append([{"a": 1}])
    with path.open("ab") as file:
        _ = file.write(b"y" * 300_000)
    JsonLines(path).append([{"a": 2}])
    assert path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    _ = path.write_bytes(b"z" * 200_000)
    JsonLines(path).append([{"a": 3}])
    assert path.read_bytes() == b'{"a": 3}\n'


def test_a_lock_that_is_never_free_is_told(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    monkeypatch.setattr(record_file, "_PATIENCE_S", 0.05)
    with FileLock(f"{path}.lock"), pytest.raises(StorageError, match="Cannot lock"):
        RecordFile(path).append([record()])
    RecordFile(path).append([record()])
    assert len(RecordFile(path).records) == 1


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


def test_half_a_sign_does_not_stop_the_writing(tmp_path):
    lines = JsonLines(tmp_path / "log.jsonl")
    lines.append([{"a": "gar\ud800den"}])
    assert lines.read_from(0).rows == [{"a": "gar?den"}]
