"""How the sentences of a task are told apart: forms with slots, and the words that fill them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

from armt.core.errors import DataError

_ONLY_FORM: Mapping[str, str] = {
    "moved": "went back|went|journeyed|travelled|moved",
    "got": "got|took|grabbed|picked up",
    "dropped": "dropped|left|discarded|put down",
    "gave": "gave|passed|handed",
    "not": "not|no longer",
    "then": "Then|Afterwards|After that|Following that",
    "he": "he|she",
}
"""Words of the same meaning; which of them stands there is not kept."""


class Told(NamedTuple):
    """A sentence that was understood."""

    form: str
    """The name of its form, such as `move`."""

    parts: tuple[str, ...]
    """The words in its slots, in order."""


class Form(NamedTuple):
    """A form of sentences."""

    name: str
    """What a sentence of this form tells or asks."""

    text: str
    """Its text, with `{slots}` and parts that may be missing in `[]`."""


@final
@dataclass(frozen=True, kw_only=True)
class Grammar:
    """The facts and the questions of one task."""

    words: Mapping[str, str]
    """For each slot what may stand there, separated by `|`."""

    facts: tuple[Form, ...]
    """The forms of facts."""

    questions: tuple[Form, ...]
    """The forms of questions."""

    def fact_finder(self) -> re.Pattern[str]:
        """Returns a pattern that finds the facts anywhere in a text.

        It begins with the names and asks for the end of a word before them only afterwards:
        so the search can skip to the first letters, which makes it ten times faster.
        """
        return re.compile("|".join(self._pattern(form, is_kept=False) for form in self.facts))

    def fact_reader(self) -> Callable[[str], Told]:
        """Returns a function from a fact to what it tells; it raises `DataError`."""
        return self._reader("fact", self.facts)

    def question_reader(self) -> Callable[[str], Told]:
        """Returns a function from a question to what it asks; it raises `DataError`."""
        return self._reader("question", self.questions)

    def _reader(self, kind: str, forms: tuple[Form, ...]) -> Callable[[str], Told]:
        patterns = [(form.name, re.compile(self._pattern(form, is_kept=True))) for form in forms]
        known = " / ".join(form.text for form in forms)

        @lru_cache(maxsize=1 << 16)
        def read(text: str) -> Told:
            for name, pattern in patterns:
                match = pattern.fullmatch(text.strip())
                if match is not None:
                    return Told(name, match.groups())
            raise DataError(f"The {kind} {text[:80]!r} has no form of this task. Known: {known}")

        return read

    def _pattern(self, form: Form, *, is_kept: bool) -> str:
        """Returns the form as a regular expression; `is_kept` makes groups of its slots."""

        def fill(name: str) -> str:
            if name in _ONLY_FORM:
                return f"(?:{_ONLY_FORM[name]})"
            return f"({'' if is_kept else '?:'}{self.words[name]})"

        pieces = re.split(r"\{(\w+)\}", form.text)
        plain = [re.escape(text).replace(r"\[", "(?:").replace(r"\]", ")?") for text in pieces[::2]]
        filled = [*map(fill, pieces[1::2]), ""]
        return "".join(part for pair in zip(plain, filled, strict=True) for part in pair)
