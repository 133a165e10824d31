import sys
from types import SimpleNamespace

import pytest

from armt.core.errors import DataError, MissingExtraError
from armt.tasks.babilong import dataset_books, embedded_books, folder_books
from armt.tasks.babilong.corpus import is_test_book, split_sentences


def test_sentences():
    text = (
        'Mr. Brown came in. "Who is it?" she asked. He sat\ndown! "Well?" It was 3.5 miles off\n\n'
        "CHAPTER II\n\nThe end... He went (again.) Then he was gone"
    )
    assert split_sentences(text) == [
        "Mr. Brown came in.",
        '"Who is it?" she asked.',
        "He sat down!",
        '"Well?"',
        "It was 3.5 miles off",
        "CHAPTER II",
        "The end...",
        "He went (again.)",
        "Then he was gone",
    ]


def test_no_word_is_lost(books):
    for book in books[::10]:
        assert " ".join(split_sentences(book.text)) == " ".join(book.text.split())


def test_books_of_a_folder_come_sorted(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        _ = (tmp_path / name).write_text(f"Text of {name}.", encoding="utf-8")
    assert [tuple(book) for book in folder_books(tmp_path)] == [
        ("a", "Text of a.txt."),
        ("b", "Text of b.txt."),
    ]


def test_folders_without_text_are_told(tmp_path):
    with pytest.raises(DataError, match=r"No \.txt file"):
        _ = list(folder_books(tmp_path))
    _ = (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"a\.txt' is not UTF-8"):
        _ = list(folder_books(tmp_path))


def test_a_data_set_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"armt\[datasets\]"):
        _ = list(dataset_books("some/books"))


def test_rows_of_a_data_set_are_books(monkeypatch):
    rows = [{"text": "One.", "short_book_title": "First"}, {"text": "Two."}, {"title": "no text"}]
    fake = SimpleNamespace(load_dataset=lambda name, split: rows if split == "train" else [])
    monkeypatch.setitem(sys.modules, "datasets", fake)
    found = dataset_books("some/books")
    assert tuple(next(found)) == ("First", "One.")
    assert tuple(next(found)) == ("some/books-1", "Two.")
    with pytest.raises(DataError, match=r"Row 2 .* no text under 'text'. Its fields: title"):
        _ = next(found)


def test_embedded_prose_reads_as_prose(books):
    assert books == list(embedded_books())
    assert len({book.name for book in books}) == len(books) > 80
    text = "".join(book.text for book in books)
    assert len(text) > 300_000
    assert ">>>" not in text
    assert "::=" not in text
    assert sum(char.isalpha() or char.isspace() for char in text) > 0.9 * len(text)


def test_about_one_book_in_seven_is_for_testing():
    share = sum(is_test_book(f"book {number}") for number in range(7000)) / 1000
    assert 0.9 < share < 1.1


def test_no_embedded_paragraph_stands_twice(books):
    paragraphs = [part for book in books for part in book.text.split("\n\n")]
    full = [part for part in paragraphs if part]
    assert len(set(full)) == len(full)
