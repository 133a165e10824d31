import pytest

from armt.benchmarking.records import RecordBook
from armt.benchmarking.tables import (
    NOT_MEASURED,
    ceiling_table,
    drift_table,
    floor_table,
    latency_table,
    long_table,
    speed_table,
)
from benchmarking.benches import SHAPE

CASE = {"shape": "small", "segment_len": 512, "batch": 1}


@pytest.fixture
def book(tmp_path):
    return RecordBook(tmp_path / "r.jsonl", 0, "abc")


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_without_records_the_tables_say_so():
    tables = (ceiling_table, latency_table, long_table, drift_table)
    assert [table([]) for table in tables] == [NOT_MEASURED] * 4
    assert speed_table([], "read") == NOT_MEASURED


def test_speeds_stand_by_case_and_schedule_and_the_last_counts(book):
    about = CASE | {"tokens": 1000}
    records = [
        book.add(
            "read.tokens_per_s", value, "tokens/s", **about, schedule=schedule, low=1, high=9e6
        )
        for value, schedule in ((1e6, "waves"), (2e5, "sequential"), (3e6, "waves"))
    ]
    records += [
        book.add("read.tflops", 12.34, "TFLOP/s", **about, schedule="waves"),
        book.add("read.ceiling_share", 0.5, "ratio", **about, schedule="waves"),
        book.add("read.peak_bytes", 2**30, "bytes", **about, schedule="waves"),
        book.add("train.tokens_per_s", 5.0, "tokens/s", **about, schedule="waves"),
    ]
    _, _, *rows = rows_of(speed_table(records, "read"))
    case = ["small", "512", "1"]
    assert rows == [
        [*case, "waves", "3,000,000", "1 to 9,000,000", "12.3", "50.0", "1.00"],
        [*case, "sequential", "200,000", "1 to 9,000,000", "", "", ""],
    ]


def test_latencies_stand_by_length_and_tell_what_did_not_fit(book):
    records = [
        book.add("read.seconds", 0.5, "s", **CASE, schedule="waves", tokens=4096),
        book.add("read.seconds", 1.0, "s", **CASE, schedule="waves", tokens=8192),
        book.add("read.seconds", 0.25, "s", **CASE, schedule="full attention", tokens=4096),
        book.add("device.out_of_memory", 9.0, "B", **CASE, schedule="full attention", tokens=8192),
        book.add("read.seconds", 77.0, "s", **CASE, schedule="auto", tokens=4096, chosen="waves"),
    ]
    heads, _, *rows = rows_of(latency_table(records))
    assert heads[3:] == ["schedule", "4,096 tokens, s", "8,192 tokens, s"]
    assert [row[3:] for row in rows] == [
        ["waves", "0.500", "1.000"],
        ["full attention", "0.250", "out of memory"],
    ]
    _, _, *long = rows_of(long_table(records))
    assert long == [["small", "512", "1", "4,096", "77.00", "", ""]]


def test_drift_stands_by_segments(book):
    records = [
        book.add(name, value, "ratio", **CASE, segments=segments)
        for segments in (10, 100)
        for name, value in (("drift.state", 0.0123), ("drift.logits", 0.01))
    ]
    _, _, *rows = rows_of(drift_table(records))
    assert [row[3:] for row in rows] == [["10", "0.0123", "0.0100"], ["100", "0.0123", "0.0100"]]


def test_ceilings_stand_by_device(book):
    records = [
        book.add("ceiling.tflops", 0.5, "TFLOP/s"),
        book.add("ceiling.bytes_per_s", 2e10, "bytes/s"),
    ]
    (row,) = rows_of(ceiling_table(records))[2:]
    assert row == [records[0].hardware, "0.5", "20"]


def test_the_floor_has_a_row_for_each_shape():
    heads, _, row = rows_of(floor_table([SHAPE]))
    assert len(heads) == len(row)
    assert row[:3] == ["`tiny`", "2 x 16", "8"]
