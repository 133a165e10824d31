"""Where natural text comes from: a folder of books, a Hugging Face data set, Python's own prose."""

import ast
import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from armt.core.errors import DataError, MissingExtraError

_TEST_SHARE = 7
"""One book in so many is kept for testing."""

_PROSE_MODULES = (
    "argparse", "calendar", "copy", "csv", "dataclasses", "datetime", "difflib", "doctest", "enum",
    "fractions", "functools", "gettext", "heapq", "inspect", "locale", "mailbox", "optparse", "pdb",
    "pickle", "pickletools", "pkgutil", "pprint", "profile", "random", "shutil", "smtplib",
    "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
    "tokenize", "trace", "turtle", "typing", "uuid", "warnings", "zipfile",
)  # fmt: skip

_SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\be\.g)(?<!\bi\.e)[.!?]+[\"'”’)\]]*"
    r"(?=\s+[\"'“‘(\[]?[A-Z0-9])|\n[ \t]*\n"
)


class Book(NamedTuple):
    """A named text."""

    name: str
    text: str


def folder_books(folder: str | Path) -> Iterator[Book]:
    """Yields the `.txt` files of a folder, sorted by name; a file's name is the book's.

    Raises:
        DataError: there is no such folder, no such file in it, or a file is not UTF-8 text.
    """
    paths = sorted(Path(folder).glob("*.txt"))
    if not paths:
        raise DataError(f"No .txt file in '{folder}'. Give a folder with one text file per book.")
    for path in paths:
        try:
            yield Book(path.stem, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"'{path}' is not UTF-8 text ({error}). Convert it.") from error


def dataset_books(name: str, *, split: str = "train", text_field: str = "text") -> Iterator[Book]:
    """Yields the rows of a Hugging Face data set, such as PG-19, as books.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
        DataError: a row has no text under `text_field`.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(f"Reading the data set '{name}'", "datasets") from error
    rows = cast("Iterable[Mapping[str, object]]", datasets.load_dataset(name, split=split))
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
    """Says whether the book `name` is kept for testing (about one in seven, by a hash)."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % _TEST_SHARE == 0


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of `text` with their inner white space made single blanks."""
    sentences: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        sentences.append(text[start : match.end()])
        start = match.end()
    sentences.append(text[start:])
    return [clean for sentence in sentences if (clean := " ".join(sentence.split()))]


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
