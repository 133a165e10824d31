"""One word for one thing, in names; and nothing in a text that is true of one machine only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from house.sources import ROOT, SRC, short_name, source_files, tree_of

# Word in a name -> what to say instead.
FORBIDDEN_WORDS = {
    "chunk": "segment",
    "chunks": "segments",
    "block": "segment, or layer",
    "blocks": "segments, or layers",
    "window": "segment",
    "windows": "segments",
    "util": "the thing that the module is about",
    "utils": "the thing that the module is about",
    "helper": "what it does",
    "helpers": "what they do",
    "manager": "what it does",
}
# A class is not called after its place in a hierarchy; a variable may hold a base.
FORBIDDEN_IN_CLASSES = {"base": "the name of the contract"}
# Words of others that name their thing, not a segment.
FOREIGN_NAMES = {"sliding_window", "_no_split_modules"}
FOREIGN_FILES = "_triton.py"

PRIVATE_TEXTS = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|home|root|opt|tmp)/"),
    "a folder beside the checkout": re.compile(r"\bshared/"),
    "who wrote it": re.compile(r"\b(?:AI|LLM|coding) agents?\b|\bassistant wrote\b", re.IGNORECASE),
}
TEXT_ENDINGS = (".py", ".md", ".toml", ".txt", ".cff", ".sh", ".jsonl")
TEXT_FOLDERS = ("src", "docs", "examples", "benchmarks", "scripts")


def _defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of all that a file names itself: what it only uses is not its choice."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def _words_of(name: str) -> list[str]:
    """`SegmentCell2` and `segment_cell_2` -> segment, cell, 2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _wrong_words(name: str) -> list[str]:
    if name in FOREIGN_NAMES:
        return []
    is_class = name.lstrip("_")[:1].isupper() and not name.isupper()
    forbidden = FORBIDDEN_WORDS | (FORBIDDEN_IN_CLASSES if is_class else {})
    return [f"{word} (say {forbidden[word]})" for word in _words_of(name) if word in forbidden]


def _texts() -> list[Path]:
    inside = [path for folder in TEXT_FOLDERS for path in (ROOT / folder).rglob("*")]
    files = [path for path in [*ROOT.glob("*"), *inside] if path.suffix in TEXT_ENDINGS]
    return sorted(path for path in files if path.is_file())


def test_names_use_our_words():
    wrong = [
        f"{short_name(path)}:{line} {name}: {word}"
        for path in source_files()
        if not path.name.endswith(FOREIGN_FILES)
        for line, name in _defined_names(tree_of(path))
        for word in _wrong_words(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_folders_use_our_words():
    wrong = [
        short_name(path)
        for path in source_files()
        if any(_wrong_words(part) for part in path.relative_to(SRC).with_suffix("").parts)
    ]
    assert not wrong


@pytest.mark.parametrize("what", PRIVATE_TEXTS)
def test_texts_hold_for_every_reader(what):
    texts = _texts()
    assert texts, "No texts found."
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if PRIVATE_TEXTS[what].search(line)
    ]
    assert not found, f"Remove {what}:\n" + "\n".join(found)


def test_the_rule_splits_names_into_words():
    assert _words_of("RMTChunkStore") == ["rmt", "chunk", "store"]
    assert _words_of("num_blocks_2") == ["num", "blocks", "2"]
    assert _wrong_words("read_window") == ["window (say segment)"]
    assert _wrong_words("MemoryBase")
    assert not _wrong_words("base")
    assert not _wrong_words("windowed")
    assert not _wrong_words("sliding_window")
