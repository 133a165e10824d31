"""Samples as text files in the form of the published generator, written piece by piece."""

import json
import os
from collections.abc import Iterable, Iterator
from typing import TextIO

from armt.core.files import atomic_path
from armt.tasks.contract import Sample


def write_text_file(path: str | os.PathLike[str], samples: Iterable[Sample]) -> int:
    """Writes samples as a JSON list of `{"input", "question", "target"}`; returns how many.

    `input` is the context as text without white space at its ends, as published. No context is ever
    held as a whole; the file appears when all are written.

    Raises:
        StorageError: the disk is full or refuses the file.
    """
    num_written = 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        _ = file.write("[")
        for sample in samples:
            _ = file.write(",\n" if num_written else "\n")
            _write_sample(file, sample)
            num_written += 1
        _ = file.write("\n]\n")
    return num_written


def stripped(pieces: Iterable[str]) -> Iterator[str]:
    """Yields the same text in pieces without the white space at its two ends."""
    is_begun = False
    blank = ""
    for piece in pieces:
        text = piece if is_begun else piece.lstrip()
        body = text.rstrip()
        if body:
            yield blank + body
            blank = text[len(body) :]
            is_begun = True
        else:
            blank += text


def _write_sample(file: TextIO, sample: Sample) -> None:
    _ = file.write('{"input": "')
    for piece in stripped(sample.text()):
        _ = file.write(json.dumps(piece)[1:-1])
    rest = {"question": sample.question, "target": sample.answer}
    _ = file.write(f'", {json.dumps(rest)[1:]}')
