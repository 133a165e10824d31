"""Writing a story line by line."""

from collections.abc import Iterable
from typing import final

from armt.tasks.babi.format import Story, StoryLine


@final
class StoryWriter:
    """Numbers the lines of one story as they are told, from 1; questions count too."""

    def __init__(self) -> None:
        """Opens an empty story."""
        self._lines: list[StoryLine] = []
        self.num_questions = 0

    def tell(self, text: str) -> int:
        """Adds a fact and returns its line number."""
        number = len(self._lines) + 1
        self._lines.append(StoryLine(number, text))
        return number

    def ask(self, text: str, answer: str, supporting: Iterable[int]) -> None:
        """Adds a question; `supporting` are line numbers that `tell` gave."""
        number = len(self._lines) + 1
        line = StoryLine(number, text, answer, tuple(supporting))
        self._lines.append(line)
        self.num_questions += 1

    def story(self) -> Story:
        """Returns what was told so far."""
        return Story(lines=tuple(self._lines))
