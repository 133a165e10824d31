"""Where natural text comes from: folders and files, Hugging Face data sets, Python's own prose."""

import ast
import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast, final

from armt.core.errors import DataError, MissingExtraError

PROSE = "prose"
"""Name of the text that comes with Python."""

_TEST_SHARE = 7
"""One book in so many is kept for testing."""

_PROSE_MODULES = (
    "argparse", "calendar", "copy", "csv", "dataclasses", "datetime", "difflib", "doctest", "enum",
    "fractions", "functools", "gettext", "heapq", "inspect", "locale", "mailbox", "optparse", "pdb",
    "pickle", "pickletools", "pkgutil", "pprint", "profile", "random", "shutil", "smtplib",
    "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
    "tokenize", "trace", "turtle", "typing", "uuid", "warnings", "zipfile",
)  # fmt: skip


class Book(NamedTuple):
    """A named text."""

    name: str
    text: str


@final
class Corpus:
    """Books that can be read any number of times, so that they need not be held in memory."""

    def __init__(self, names: Sequence[str | Path]) -> None:
        """Takes names of folders, of files, of Hugging Face data sets, or `prose`.

        A name that stands there twice counts twice.

        Raises:
            DataError: no name is given.
        """
        if not names:
            raise DataError(
                "No background is named. Give folders or files of text, data sets, or 'prose'."
            )
        self.names = tuple(names)

    def __iter__(self) -> Iterator[Book]:
        """Yields the books of each name in order.

        Raises:
            DataError: a folder or a file cannot be read as text.
            MissingExtraError: a data set is named and `datasets` is not installed.
        """
        for name in self.names:
            yield from _books_of(name)


def folder_books(folder: str | Path) -> Iterator[Book]:
    """Yields the `.txt` files of a folder and of all folders in it, sorted by path.

    A book is called by its path within the folder, without the ending.

    Raises:
        DataError: there is no such folder, no such file in it, or a file is not UTF-8 text.
    """
    root = Path(folder)
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.txt")}
    files = {name: path for name, path in sorted(paths.items()) if path.is_file()}
    if not files:
        raise DataError(f"No .txt file in '{folder}'. Give a folder with one text file per book.")
    for name, path in files.items():
        yield Book(name.removesuffix(".txt"), _read(path))


def file_books(paths: Iterable[str | Path]) -> Iterator[Book]:
    """Yields text files of any ending, in the order given; a book is called as its file.

    Raises:
        DataError: a file does not exist, cannot be read, or is not UTF-8 text.
    """
    for path in paths:
        yield Book(Path(path).stem, _read(Path(path)))


def dataset_books(
    source: str | Iterable[Mapping[str, object]],
    *,
    split: str = "train",
    text_field: str = "text",
) -> Iterator[Book]:
    """Yields the rows of a Hugging Face data set, such as PG-19, as books.

    Args:
        source: the data set's name, or the rows themselves: a loaded data set, streamed or not.
        split: the part to load by name.
        text_field: the field that holds the text.

    Raises:
        MissingExtraError: a name is given and the package `datasets` is not installed.
        DataError: there is no such data set, or a row has no text under `text_field`.
    """
    name = source if isinstance(source, str) else "data set"
    rows = _load_rows(source, split) if isinstance(source, str) else source
    for number, row in enumerate(rows):
        text = row.get(text_field)
        if not isinstance(text, str):
            raise DataError(
                f"Row {number} of '{name}' has no text under '{text_field}'. "
                f"Its fields: {', '.join(sorted(row))}."
            )
        yield Book(str(row.get("short_book_title", f"{name}-{number}")), text)


def embedded_books() -> Iterator[Book]:
    """Yields English prose that comes with every Python: the language reference and docstrings.

    About a hundred short texts, the same for a given version of Python; nothing is imported but
    `pydoc_data`, and code examples and markup are taken out. Enough to try things out without any
    download; long samples repeat it many times.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    for name in sorted(topics):
        yield Book(f"topic-{name}", _as_prose(topics[name], seen))
    for name in _PROSE_MODULES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            yield Book(f"module-{name}", _as_prose(_docstrings(Path(spec.origin)), seen))


def is_test_book(name: str) -> bool:
    """Says whether the book `name` is kept for testing (about one in seven, by a hash).

    The last part of a path decides alone. So a book falls on the same side whichever folder above
    it is named, and no model is asked about books that it was trained on.
    """
    file_name = name.rpartition("/")[2]
    digest = hashlib.sha256(file_name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % _TEST_SHARE == 0


def _books_of(name: str | Path) -> Iterator[Book]:
    if name == PROSE:
        return embedded_books()
    if Path(name).is_dir():
        return folder_books(name)
    if Path(name).is_file():
        return file_books([name])
    if isinstance(name, Path) or Path(name).suffix == ".txt" or Path(name).is_absolute():
        raise DataError(f"There is no file or folder '{name}'.")
    return dataset_books(name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text ({error}). Convert it.") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def _load_rows(name: str, split: str) -> Iterable[Mapping[str, object]]:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(f"Reading the data set '{name}'", "datasets") from error
    try:
        return cast("Iterable[Mapping[str, object]]", datasets.load_dataset(name, split=split))
    except (OSError, ValueError) as error:  # what `datasets` raises for a name it does not find
        raise DataError(
            f"There is no folder, file or data set '{name}' with a split '{split}' ({error})."
        ) from error


def _docstrings(source: Path) -> str:
    """Returns all docstrings of a Python file, one paragraph or more each."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return "\n\n".join(text for text in found if text)


def _as_prose(text: str, seen: set[str]) -> str:
    """Keeps the paragraphs that read as prose and strips their markup.

    Those in `seen` are left out and new ones added to it: the topics share some of their text, and
    no paragraph may stand both in a training and in a test book.
    """
    kept: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        plain = _strip_markup(paragraph)
        if _is_prose(paragraph) and plain not in seen:
            seen.add(plain)
            kept.append(plain)
    return "\n\n".join(kept)


def _is_prose(paragraph: str) -> bool:
    if ">>>" in paragraph or "::=" in paragraph or "***" in paragraph or "|" in paragraph:
        return False
    letters = sum(char.isalpha() or char.isspace() for char in paragraph)
    return len(paragraph) > 40 and letters > 0.85 * len(paragraph)


def _strip_markup(paragraph: str) -> str:
    plain = re.sub(r":\w+:`([^`]*)`", r"\1", paragraph)
    plain = re.sub(r"\s+", " ", re.sub(r"[`*]|\[\d+\]_?", "", plain))
    return re.sub(r"::(?=\s|$)", ":", re.sub(r"^\s*[-*•]\s+", "", plain))
