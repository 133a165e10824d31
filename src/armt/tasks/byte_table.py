"""Decoding by a table of bytes: what a byte-level tokenizer does, many times faster."""

import json
from collections.abc import Mapping, Sequence
from typing import cast, final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


@final
class ByteTable:
    """The bytes of every token of a byte-level tokenizer."""

    def __init__(self, spellings: Sequence[bytes]) -> None:
        """Takes the bytes of each token, by its number."""
        spelled = [*spellings, b""]  # the last one stands for numbers that are no token
        self._bytes = np.frombuffer(b"".join(spelled), dtype=np.uint8)
        self._lens = np.asarray([len(each) for each in spelled], dtype=np.int64)
        self._starts = np.cumsum(self._lens) - self._lens

    def text(self, ids: npt.NDArray[np.integer]) -> str:
        """Returns the text of `ids`; bytes that are no character become U+FFFD."""
        last = len(self._lens) - 1
        known = np.where((ids >= 0) & (ids < last), ids, last)
        lens = self._lens[known]
        ends = np.cumsum(lens)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(self._starts[known] - (ends - lens), lens) + np.arange(total)
        return self._bytes[where].tobytes().decode("utf-8", errors="replace")


def byte_table(tokenizer: Tokenizer) -> ByteTable | None:
    """Returns the table of a tokenizer that decodes by bytes alone; none for any other."""
    description = cast("Mapping[str, object]", json.loads(tokenizer.to_str()))
    decoder = description.get("decoder")
    if not isinstance(decoder, dict):
        return None
    if cast("dict[str, object]", decoder).get("type") != "ByteLevel":
        return None
    numbers = _byte_numbers()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    spellings = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, number in vocabulary.items():
        spellings[number] = _spell(token, numbers)
    return ByteTable(spellings)


def _spell(token: str, numbers: Mapping[str, int]) -> bytes:
    """Returns a token's bytes; one with a sign that stands for no byte is taken as it is."""
    if all(sign in numbers for sign in token):
        return bytes(numbers[sign] for sign in token)
    return token.encode()


def _byte_numbers() -> dict[str, int]:
    """Returns the byte of each sign that byte-level vocabularies are written in.

    Printable bytes of Latin-1 stand for themselves, the others for the code points from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [number for number in range(256) if number not in printable]
    numbers = {chr(number): number for number in printable}
    return numbers | {chr(256 + place): number for place, number in enumerate(others)}
