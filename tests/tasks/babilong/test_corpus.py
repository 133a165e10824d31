import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from armt.core.errors import DataError, MissingExtraError
from armt.tasks.babilong import Book, dataset_books, embedded_books, folder_books
from armt.tasks.babilong.corpus import Corpus, file_books, is_test_book


def test_books_of_a_folder_come_sorted(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        _ = (tmp_path / name).write_text(f"Text of {name}.", encoding="utf-8")
    assert [tuple(book) for book in folder_books(tmp_path)] == [
        ("a", "Text of a.txt."),
        ("b", "Text of b.txt."),
    ]


def test_folders_within_a_folder_are_read_too(tmp_path):
    for name in ("b/two.txt", "b/a/one.txt", "three.txt", "b/no.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _ = path.write_text(name, encoding="utf-8")
    (tmp_path / "folder.txt").mkdir()
    assert [book.name for book in folder_books(tmp_path)] == ["b/a/one", "b/two", "three"]


def test_files_of_any_ending_come_as_given(tmp_path):
    for name in ("b.md", "a.txt"):
        _ = (tmp_path / name).write_text(name, encoding="utf-8")
    found = list(file_books([tmp_path / "b.md", str(tmp_path / "a.txt")]))
    assert found == [Book("b", "b.md"), Book("a", "a.txt")]
    with pytest.raises(DataError, match=r"c\.txt' cannot be read: No such file"):
        _ = list(file_books([tmp_path / "c.txt"]))


def test_a_corpus_is_read_again_and_again(tmp_path, books):
    _ = (tmp_path / "a.txt").write_text("One.", encoding="utf-8")
    corpus = Corpus([tmp_path, "prose", str(tmp_path / "a.txt"), tmp_path])
    one = Book("a", "One.")
    assert list(corpus) == list(corpus) == [one, *books, one, one]


@pytest.mark.parametrize("name", ["books.txt", "/no/such/folder", Path("novels")])
def test_names_of_nothing_are_told(name):
    with pytest.raises(DataError, match="There is no file or folder"):
        _ = list(Corpus([name]))


def test_an_empty_corpus_is_told():
    with pytest.raises(DataError, match="No background is named"):
        _ = Corpus([])


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


def test_a_loaded_data_set_is_read_as_it_is():
    rows = [{"story": "One.", "short_book_title": "First"}, {"story": "Two."}]
    found = list(dataset_books(rows, text_field="story"))
    assert found == [Book("First", "One."), Book("data set-1", "Two.")]


def test_an_unknown_data_set_is_told(monkeypatch):
    def load(name, split):
        raise FileNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    with pytest.raises(DataError, match="no folder, file or data set 'no/books'"):
        _ = list(Corpus(["no/books"]))


def test_embedded_prose_reads_as_prose(books):
    assert books == list(embedded_books())
    assert len({book.name for book in books}) == len(books) > 80
    text = "".join(book.text for book in books)
    assert len(text) > 300_000
    assert ">>>" not in text
    assert "::=" not in text
    assert sum(char.isalpha() or char.isspace() for char in text) > 0.9 * len(text)


def test_the_split_does_not_depend_on_which_folder_is_named(tmp_path):
    folder = tmp_path / "lib" / "novels"
    folder.mkdir(parents=True)
    for number in range(40):
        _ = (folder / f"{number}.txt").write_text(str(number), encoding="utf-8")
    splits = [
        {book.text for book in books if is_test_book(book.name)}
        for books in (
            folder_books(tmp_path),
            folder_books(tmp_path / "lib"),
            folder_books(folder),
            file_books(sorted(folder.iterdir())),
        )
    ]
    assert splits[0]
    assert all(split == splits[0] for split in splits)


def test_about_one_book_in_seven_is_for_testing():
    # Books of a flat folder, whose split must stay as models were trained with it.
    flat = [name for name in map(str, range(40)) if is_test_book(name)]
    assert flat == ["15", "20", "28", "31"]
    share = sum(is_test_book(f"book {number}") for number in range(7000)) / 1000
    assert 0.9 < share < 1.1


def test_no_embedded_paragraph_stands_twice(books):
    paragraphs = [part for book in books for part in book.text.split("\n\n")]
    full = [part for part in paragraphs if part]
    assert len(set(full)) == len(full)
