import json
import sys

from armt.benchmarking.records import RecordBook, current_commit, load_records


def test_a_figure_is_on_the_disk_when_it_is_told(tmp_path):
    path, seen = tmp_path / "out" / "records.jsonl", []
    book = RecordBook(path, 3, "abc", lambda each: seen.append((each, load_records(path))))
    one = book.add("read.seconds", 1.5, "s", shape="tiny", sizes=[1, 2])
    two = book.add("read.seconds", 2.5, "s", shape="tiny", sizes=[])
    assert seen == [(one, [one]), (two, [one, two])]
    assert (one.value, one.unit, one.seed, one.commit) == (1.5, "s", 3, "abc")
    assert one.params == {"shape": "tiny", "sizes": [1, 2]}


def test_a_book_knows_what_it_holds(tmp_path):
    path = tmp_path / "r.jsonl"
    book = RecordBook(path, 0, "abc")
    assert not book.holds("a.b")
    _ = book.add("a.b", 1.0, "s", at=1, sizes=[1, 2])
    assert book.holds("a.b")
    assert book.holds("a.b", at=1, sizes=[1, 2])
    assert not book.holds("a.b", at=2)
    assert not book.holds("a.b", other=1)
    assert not book.holds("a")
    assert not RecordBook(path, 1, "abc").holds("a.b")


def test_a_line_has_the_fields_that_all_records_have(tmp_path):
    _ = RecordBook(tmp_path / "r.jsonl", 0, "abc").add("a.b", 1.0, "s")
    (line,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert list(json.loads(line)) == [
        "name", "value", "unit", "params", "seed", "hardware", "versions", "commit", "command",
        "date",
    ]  # fmt: skip


def test_the_command_names_no_folder_of_the_machine(tmp_path, monkeypatch):
    book = RecordBook(tmp_path / "r.jsonl", 0, "abc")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/armt", "bench", "read"])
    assert book.add("a.b", 1.0, "s").command == "armt bench read"
    monkeypatch.setattr(sys, "argv", ["benchmarks/x.py", "--seed", "1"])
    assert book.add("a.b", 1.0, "s").command == "python benchmarks/x.py --seed 1"


def test_a_torn_line_does_not_count(tmp_path):
    path = tmp_path / "r.jsonl"
    book = RecordBook(path, 0, "abc")
    one = book.add("a.b", 1.0, "s")
    with path.open("a") as file:
        _ = file.write('{"name": "a.')
    assert load_records(path) == [one]
    two = book.add("a.b", 2.0, "s")
    assert load_records(path) == [one, two]


def test_the_commit_is_that_of_the_checkout_wherever_it_is_asked(tmp_path, monkeypatch):
    here = current_commit()
    monkeypatch.chdir(tmp_path)
    assert current_commit() == here
    assert here == "unknown" or len(here) >= 7
