"""Texts from files, folders and streams, piece by piece, in constant memory.

Where a text is cut depends on the text alone, never on time or on how it arrives: a file and the
same bytes on standard input give the same pieces.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

from armt.core.errors import DataError

PIECE_LEN = 1 << 16
"""Characters of a piece, about."""

STANDARD_INPUT = "-"
"""Names the standard input among paths."""

_READ_NBYTES = 1 << 16
_UNDECODED = re.compile("[\udc80-\udcff]")
_EDGES = ("\n\n", "\n", " ")


class TextSource(NamedTuple):
    """A text that can be opened."""

    name: str
    """What it is called in messages and state files."""

    open: Callable[[], BinaryIO]
    """Opens it for reading."""


@final
class TextReader:
    """Reads sources one after the other; counts what it read."""

    def __init__(self, sources: Sequence[TextSource], *, piece_len: int = PIECE_LEN) -> None:
        """Takes the sources in their order."""
        self.sources = tuple(sources)
        self.nbytes: dict[str, int] = {}
        """Bytes read so far of each source."""
        self.num_replaced = 0
        """Bytes so far that were no UTF-8 and became U+FFFD."""
        self._piece_len = piece_len

    def pieces(self) -> Iterator[str]:
        """Yields the texts in pieces cut after a paragraph, else a line, else a word.

        Raises:
            DataError: a source cannot be read, or it is binary.
        """
        for source in self.sources:
            self.nbytes[source.name] = 0
            held = ""
            for text in self._decoded(source):
                held += text
                while len(held) > self._piece_len:
                    cut = _cut(held, self._piece_len)
                    yield held[:cut]
                    held = held[cut:]
            if held:
                yield held

    def _decoded(self, source: TextSource) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        try:
            with source.open() as stream:
                while data := stream.read(_READ_NBYTES):
                    _check_text(source.name, data)
                    self.nbytes[source.name] += len(data)
                    yield self._replaced(decoder.decode(data))
        except OSError as error:
            raise _unreadable(source.name, error) from error
        yield self._replaced(decoder.decode(b"", final=True))

    def _replaced(self, text: str) -> str:
        clean, num_replaced = _UNDECODED.subn("\ufffd", text)
        self.num_replaced += num_replaced
        return clean


def find_sources(paths: Sequence[str], standard_input: BinaryIO) -> list[TextSource]:
    """Returns the texts at `paths`: files, folders (their files by name), `-` for standard input.

    The start of every file is looked at, so that a binary one is found before a reading begins. A
    pipe is not: it gives its bytes once.

    Raises:
        DataError: a path is missing, cannot be read, is binary, or is a folder without a file.
    """
    found: list[TextSource] = []
    for path in paths:
        if path == STANDARD_INPUT:
            found.append(TextSource(path, lambda: standard_input))
        else:
            found += [_file_source(file) for file in _files(Path(path))]
    return found


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"No file or folder '{path}'. Check the path.")
    if not path.is_dir():
        return [path]
    files = sorted(each for each in path.iterdir() if each.is_file() and each.name[0] != ".")
    if not files:
        raise DataError(f"The folder '{path}' holds no file. Give a folder with text files.")
    return files


def _file_source(path: Path) -> TextSource:
    source = TextSource(str(path), lambda: path.open("rb"))
    if not path.is_file():  # what is looked at in a pipe is gone
        return source
    try:
        with path.open("rb") as stream:
            _check_text(str(path), stream.read(_READ_NBYTES))
    except OSError as error:
        raise _unreadable(str(path), error) from error
    return source


def _check_text(name: str, data: bytes) -> None:
    if b"\0" in data:
        raise DataError(
            f"'{name}' is binary: it holds NUL bytes. Give a text; convert UTF-16 to UTF-8."
        )


def _cut(text: str, limit: int) -> int:
    """Returns where the first piece of `text` ends: at the last good edge before `limit`."""
    for edge in _EDGES:
        found = text.rfind(edge, 0, limit)
        if found > 0:
            # A blank stays with the word after it, as tokenizers have it.
            return found if edge == " " else found + len(edge)
    return limit


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"Cannot read '{name}': {error.strerror or error}. Check the path.")
