"""Where the sentences of a text begin and end: two ways to say it.

Legend: n sentences, as characters of their text.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib.metadata import version
from typing import NamedTuple, Protocol, cast, final

import numpy as np
import numpy.typing as npt

from armt.core.errors import UnknownNameError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_PIECE_LEN = 1 << 18
"""Characters that Punkt reads at a time: newer versions give up after five seconds on a text."""

_NUM_UNSURE = 4
"""Sentences at the end of a piece that the text after it might still change."""

_SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)(?<!\be\.g)(?<!\bi\.e)[.!?]+[\"'”’)\]]*"
    r"(?=\s+[\"'“‘(\[]?[A-Z0-9])|\n[ \t]*\n"
)

_PLAIN_END = (
    r"[\"'“‘(]?(?:[A-Za-z]{2,}(?:-[A-Za-z]+)*\.|[A-Za-z'’-]+[?!])"
    r"(?:[%s]|\s+[\"'“‘(]?[A-Za-z])"
)
"""A word of two letters or more and a period, or any word and a question or exclamation mark; then
a closing quotation mark or a word."""

_CLOSING = "\"')’”"
"""Closing marks; some versions of nltk take curly ones for letters."""

_NEXT_WORD = re.compile(r"\s+(\S)")


class Edges(NamedTuple):
    """What a piece cut out of a text shows of the sentences at its two ends, (n,) each.

    A splitter that is given text[a:b] alone finds the boundaries of the whole text within it, but
    for those at the ends. These numbers say which.
    """

    tails: IntArray
    """The end of sentence i is found from starts a < tails[i] only: from a later one its last
    period is out of sight, and what is left of it belongs to the next sentence."""

    heads: IntArray
    """Sentence i is told from the one before it if b > heads[i] only."""

    is_weak: BoolArray
    """The end of sentence i is not found from a = tails[i] - 2: its last letter and the period look
    like somebody's initial."""


class Splitter(Protocol):
    """Cuts a text into sentences."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever its sentences may."""
        ...

    def spans(self, text: str) -> IntArray:
        """Returns the first character of each sentence and the one after its last, (n, 2)."""
        ...

    def clean(self, sentence: str) -> str:
        """Returns a sentence as it is to be read."""
        ...

    def edges(self, text: str, spans: IntArray) -> Edges:
        """Returns what cut pieces show of the sentences `spans` of `text`."""
        ...


@final
class PlainSplitter:
    """Ends sentences at punctuation before a capital letter and at empty lines.

    White space within a sentence becomes single blanks.
    """

    name = "plain"
    version = "1"

    def spans(self, text: str) -> IntArray:
        """See `Splitter`."""
        found: list[tuple[int, int]] = []
        start = 0
        for stop in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
            inner = text[start:stop]
            first = start + len(inner) - len(inner.lstrip())
            if inner := inner.strip():
                found.append((first, first + len(inner)))
            start = stop
        return _as_spans(found)

    def clean(self, sentence: str) -> str:
        """Returns the sentence with single blanks."""
        return " ".join(sentence.split())

    def edges(self, text: str, spans: IntArray) -> Edges:
        """Takes every sentence to be found that a piece holds part of."""
        assert not len(spans) or int(spans[-1, 1]) <= len(text), "spans of another text"
        return Edges(spans[:, 1].copy(), spans[:, 0].copy(), np.zeros(len(spans), dtype=np.bool_))


@final
class PunktSplitter:
    """nltk's Punkt without training, as the reference of BABILong uses it.

    Sentences are exactly those that `PunktSentenceTokenizer().span_tokenize(text)` of the installed
    nltk gives, line breaks within them included; only faster, and without its time limit of five
    seconds a text. Kiss and Strunk 2006, Computational Linguistics 32.
    """

    name = "punkt"

    @property
    def version(self) -> str:
        """The version of nltk."""
        return f"nltk-{version('nltk')}"

    def spans(self, text: str) -> IntArray:
        """See `Splitter`.

        The text is read in pieces. An untrained Punkt decides by the words on both sides of a
        period and nothing else, so it finds the same sentences when it begins anew at one of them
        that stands after white space; those near a piece's end are left to the next piece.
        """
        punkt = _punkt()
        found: list[tuple[int, int]] = []
        start, size = 0, _PIECE_LEN
        while start + size < len(text):
            spans = list(punkt.span_tokenize(text[start : start + size]))
            sure = _last_restart(text[start : start + size], spans)
            if not sure:
                size *= 2
                continue
            found.extend((start + first, start + last) for first, last in spans[:sure])
            start, size = start + spans[sure][0], _PIECE_LEN
        rest = punkt.span_tokenize(text[start:])
        found.extend((start + first, start + last) for first, last in rest)
        return _as_spans(found)

    def clean(self, sentence: str) -> str:
        """Returns the sentence as it is."""
        return sentence

    def edges(self, text: str, spans: IntArray) -> Edges:
        """See `Edges`; found by asking Punkt about the shortened words."""
        punkt = _punkt()
        was_open = True
        tails, heads, weak = (np.zeros(len(spans), dtype=np.int64) for _ in range(3))
        for number, (start, end) in enumerate(cast("list[list[int]]", spans.tolist())):
            tail = end
            while tail > start and text[tail - 1] not in ".?!":
                tail -= 1
            head = start
            while was_open and head < end and punkt.is_closing(text[start : head + 1]):
                head += 1
            # a sentence that has drawn its own quotation mark to it draws no other
            was_open = tail == end
            tails[number] = tail if tail > start else end
            heads[number] = head
            weak[number] = tail > start + 1 and _is_weak(punkt, text, tail)
        return Edges(tails, heads, weak.astype(np.bool_))


SPLITTERS: dict[str, Callable[[], Splitter]] = {"plain": PlainSplitter, "punkt": PunktSplitter}
"""All splitters by name."""


def splitter_named(name: str) -> Splitter:
    """Returns the splitter `name`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in SPLITTERS:
        raise UnknownNameError(
            f"No splitter of sentences is called '{name}'. Known: {', '.join(sorted(SPLITTERS))}."
        )
    return SPLITTERS[name]()


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of `text` by `PlainSplitter`, with single blanks in them."""
    plain = PlainSplitter()
    spans = cast("list[list[int]]", plain.spans(text).tolist())
    return [plain.clean(text[start:end]) for start, end in spans]


class _Punkt(Protocol):
    """An untrained Punkt of nltk that decides the easy cases quickly."""

    def span_tokenize(self, text: str) -> Iterator[tuple[int, int]]: ...

    def text_contains_sentbreak(self, text: str) -> bool: ...

    def is_closing(self, text: str) -> bool: ...


@cache
def _punkt() -> _Punkt:
    """Makes the tokenizer; nltk takes seconds to import, so it is not done before it is needed."""
    punkt = importlib.import_module("nltk.tokenize.punkt")
    language = punkt.PunktLanguageVars()
    drawn_back = language.re_boundary_realignment
    marks = [mark for mark in _CLOSING if language.period_context_re().search(f"word.{mark}word")]
    plain_end = re.compile(_PLAIN_END % "".join(marks))

    class QuickPunkt(punkt.PunktSentenceTokenizer):
        """Decides the same, nine times in ten without asking for the tokens."""

        def text_contains_sentbreak(self, text: str) -> bool:
            """Says whether a sentence ends within a word and what follows it.

            Question and exclamation marks before a blank or a quotation mark always end one, and so
            does a period after a word that is neither an initial nor a number, when no abbreviation
            is known.
            """
            if plain_end.match(text):
                return True
            return bool(super().text_contains_sentbreak(text))

        def is_closing(self, text: str) -> bool:
            """Says whether `text` alone would be drawn to the sentence before it."""
            return not text[-1].isalnum() and drawn_back.fullmatch(text) is not None

    return cast("_Punkt", QuickPunkt())


def _last_restart(text: str, spans: list[tuple[int, int]]) -> int:
    """Returns the number of the last sentence that may begin a new piece; 0 for none."""
    for number in range(len(spans) - _NUM_UNSURE, 0, -1):
        if text[spans[number][0] - 1].isspace():
            return number
    return 0


def _is_weak(punkt: _Punkt, text: str, tail: int) -> bool:
    """Says whether the period before `tail`, with one letter before it, would end no sentence."""
    if text[tail - 1] != "." or not text[tail - 2].isalpha():
        return False
    after = _NEXT_WORD.match(text, tail)
    return after is not None and not _ends_after(punkt, text[tail - 2], after.group(1))


@lru_cache(maxsize=1 << 14)
def _ends_after(punkt: _Punkt, letter: str, following: str) -> bool:
    return punkt.text_contains_sentbreak(f"{letter}. {following}")


def _as_spans(found: list[tuple[int, int]]) -> IntArray:
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)
