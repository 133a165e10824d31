"""Cuts contexts into passages that can be searched, and knows which of them hold the facts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, final

import numpy as np

from armt.core.errors import ConfigError
from armt.tasks.contract import Sample, TextEncoder

# An end of a sentence: its mark, what closes after it, and white space.
_END = re.compile(r"[.?!]+[\"'’”)\]]*\s+")
# What stands before a full stop that ends no sentence: initials ("J."), titles ("Mr."), "e.g.".
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Z][a-z]?|Mrs)|\b\w\.\w)$")
_LOOK_BACK = 8


class Passage(NamedTuple):
    """A part of a context."""

    text: str
    """What it says."""

    start: int
    """Where it begins, in the unit of whoever cut it."""

    stop: int
    """Where it ends."""


class Span(NamedTuple):
    """A place in a context, in the unit of whoever cut it."""

    start: int
    stop: int


@dataclass(frozen=True)
class CutContext:
    """A context in passages."""

    passages: Sequence[Passage]
    """In the order of the text."""

    facts: Sequence[Span | None]
    """Where each fact of the sample stands; none where it was not found."""

    def holds(self, fact: int, chosen: Sequence[int]) -> bool:
        """Returns whether one of the chosen passages holds the whole of a fact."""
        span = self.facts[fact]
        if span is None:
            return False
        return any(
            self.passages[each].start <= span.start and span.stop <= self.passages[each].stop
            for each in chosen
        )


class PassageCutter(Protocol):
    """A way to cut contexts."""

    @property
    def name(self) -> str:
        """What it is called in tables and fingerprints."""
        ...

    def cut(self, sample: Sample) -> CutContext:
        """Returns the passages of the sample's context, which is held as a whole meanwhile."""
        ...


@final
class SentenceCutter:
    """One passage for each sentence; places are counted in characters.

    A sentence ends after `.`, `?` or `!` and white space, unless the full stop follows an initial,
    a title such as `Mr` or `Mrs`, or something like `e.g`.
    """

    name = "sentences"

    def cut(self, sample: Sample) -> CutContext:
        """Returns the sentences of the context."""
        text = "".join(sample.text())
        return CutContext(list(split_sentences(text)), list(_find_in_order(text, sample)))


@final
class TokenCutter:
    """Passages of a number of tokens, each beginning before the end of the one before it.

    Places are counted in tokens of the context, so the encoder must be the one it was made with.
    """

    def __init__(self, encoder: TextEncoder, passage_len: int = 512, overlap_len: int = 0) -> None:
        """Takes the length of a passage and how much of it the next one repeats.

        Raises:
            ConfigError: the overlap is negative or leaves nothing new for the next passage.
        """
        if not 0 <= overlap_len < passage_len:
            raise ConfigError(
                "`overlap_len` must lie between 0 and `passage_len`. Got "
                f"{overlap_len} and {passage_len}."
            )
        self._encoder = encoder
        self._passage_len, self._overlap_len = passage_len, overlap_len

    @property
    def name(self) -> str:
        """The two lengths."""
        return f"{self._passage_len} tokens, {self._overlap_len} shared"

    def cut(self, sample: Sample) -> CutContext:
        """Returns the passages of the context; the last one may be shorter."""
        pieces = list(sample.context())
        ids = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)
        step = self._passage_len - self._overlap_len
        passages: list[Passage] = []
        for start in range(0, max(len(ids) - self._overlap_len, min(len(ids), 1)), step):
            stop = min(start + self._passage_len, len(ids))
            passages.append(Passage(self._encoder.decode(ids[start:stop]), start, stop))
        facts = [Span(fact.start, fact.start + fact.length) for fact in sample.facts]
        return CutContext(passages, facts)


def split_sentences(text: str) -> Iterator[Passage]:
    """Yields the sentences of `text` without the white space around them."""
    start = 0
    for found in _END.finditer(text):
        mark = found.start()
        before = text[max(start, mark - _LOOK_BACK) : mark]
        if found.group().rstrip() == "." and _ABBREVIATION.search(before):
            continue
        yield from _stripped(text, start, found.end())
        start = found.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, stop: int) -> Iterator[Passage]:
    sentence = text[start:stop]
    short = sentence.strip()
    if short:
        start += len(sentence) - len(sentence.lstrip())
        yield Passage(short, start, start + len(short))


def _find_in_order(text: str, sample: Sample) -> Iterator[Span | None]:
    """Yields where each fact stands, looking for it after the one before it."""
    position = 0
    for fact in sample.facts:
        start = text.find(fact.text, position)
        if start < 0:
            yield None
            continue
        position = start + len(fact.text)
        yield Span(start, position)
