"""The text format of bAbI: reading, writing, and cutting stories into single questions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from armt.core.errors import DataError


class StoryLine(NamedTuple):
    """One line of a story; a fact unless it has an answer."""

    number: int
    """Its id in the file, from 1 in each story; questions count too."""

    text: str
    """The fact or the question, blanks at its end included."""

    answer: str | None = None
    """The answer, if this is a question."""

    supporting: tuple[int, ...] = ()
    """Ids of the lines that the answer follows from."""

    @property
    def is_question(self) -> bool:
        """Whether the line asks."""
        return self.answer is not None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about the facts told before it."""

    facts: tuple[str, ...]
    """All facts of the story before the question, in order."""

    fact_numbers: tuple[int, ...]
    """Their line ids in the file."""

    question: str
    """The question, blanks at its end included."""

    answer: str
    """The right answer."""

    supporting: tuple[int, ...]
    """Line ids of the facts that the answer follows from."""

    @property
    def supporting_facts(self) -> tuple[str, ...]:
        """The texts of the supporting facts."""
        by_number = dict(zip(self.fact_numbers, self.facts, strict=True))
        return tuple(by_number[number] for number in self.supporting)


@dataclass(frozen=True, kw_only=True)
class Story:
    """Facts and questions in the order of telling."""

    lines: tuple[StoryLine, ...]
    """The lines of the story."""

    def questions(self) -> list[Question]:
        """Returns one record for each question; facts after the last question are lost."""
        return list(self._cut())

    def _cut(self) -> Iterator[Question]:
        facts: list[StoryLine] = []
        for line in self.lines:
            if line.answer is None:
                facts.append(line)
                continue
            yield Question(
                facts=tuple(fact.text for fact in facts),
                fact_numbers=tuple(fact.number for fact in facts),
                question=line.text,
                answer=line.answer,
                supporting=line.supporting,
            )


def read_stories(path: str | Path) -> list[Story]:
    """Returns the stories of a bAbI file.

    Raises:
        DataError: the file is missing, binary, empty or not in the format; the line is named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text ({error}). Give a bAbI text file.") from error
    except OSError as error:
        raise DataError(f"Cannot read '{path}' ({error.strerror}). Check the path.") from error
    return parse_stories(text, name=str(path))


def parse_stories(text: str, *, name: str = "text") -> list[Story]:
    """Returns the stories of `text`; `name` stands in the errors.

    Raises:
        DataError: the text is empty, cut off or not in the format; the line is named.
    """
    stories: list[list[StoryLine]] = []
    row = 0
    for row, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        where = f"{name}, line {row}"
        line = _parse_line(raw.rstrip("\r"), where)
        if line.number == 1:
            stories.append([])
        _check_order(line, stories, where)
        stories[-1].append(line)
    if not stories:
        raise DataError(f"{name} is empty. Give a bAbI text file with at least one story.")
    if not text.endswith("\n"):
        _check_whole(stories[-1][-1], f"{name}, line {row}")
    return [Story(lines=tuple(lines)) for lines in stories]


def read_questions(path: str | Path, *, reference_compat: bool = False) -> list[Question]:
    """Returns all questions of a bAbI file, in its order.

    `reference_compat` drops the last one, which the reference loader cannot reach (an off-by-one).

    Raises:
        DataError: the file cannot be read; see `read_stories`.
    """
    found = [question for story in read_stories(path) for question in story.questions()]
    return found[:-1] if reference_compat else found


def format_stories(stories: Iterable[Story]) -> str:
    """Returns the stories in the bAbI format; `parse_stories` gives them back."""
    return "".join(_format_line(line) for story in stories for line in story.lines)


def _format_line(line: StoryLine) -> str:
    if line.answer is None:
        return f"{line.number} {line.text}\n"
    supporting = " ".join(str(number) for number in line.supporting)
    return f"{line.number} {line.text}\t{line.answer}\t{supporting}\n"


def _parse_line(raw: str, where: str) -> StoryLine:
    if "\0" in raw:
        raise DataError(f"{where}: binary content. Give a bAbI text file.")
    number, _, rest = raw.partition(" ")
    if not (number.isascii() and number.isdigit() and rest.strip()):
        raise DataError(f"{where}: a line is a number, a blank and a text. Got {raw[:60]!r}.")
    text, *fields = rest.split("\t")
    if not fields:
        if text.rstrip().endswith("?"):
            raise DataError(
                f"{where}: a question needs a tab, its answer, a tab and the supporting ids. "
                f"Got {raw[:60]!r}."
            )
        return StoryLine(number=int(number), text=text)
    return _parse_question(int(number), text, fields, where)


def _parse_question(number: int, text: str, fields: list[str], where: str) -> StoryLine:
    if len(fields) != 2 or not fields[0].strip():
        raise DataError(
            f"{where}: after a question come a tab, its answer, a tab and the supporting ids. "
            f"Got {len(fields)} fields: {fields!r}."
        )
    ids = fields[1].split()
    if not all(each.isascii() and each.isdigit() for each in ids):
        raise DataError(f"{where}: supporting ids must be numbers. Got {fields[1]!r}.")
    supporting = tuple(int(each) for each in ids)
    return StoryLine(number=number, text=text, answer=fields[0], supporting=supporting)


def _check_whole(line: StoryLine, where: str) -> None:
    """Refuses a last line that shows that the text was cut off inside of it."""
    is_whole = bool(line.supporting) if line.is_question else line.text.rstrip()[-1:] in tuple(".!")
    if not is_whole:
        raise DataError(
            f"{where}: the text ends inside of a line, {line.text[-40:]!r}. Load the file again."
        )


def _check_order(line: StoryLine, stories: list[list[StoryLine]], where: str) -> None:
    if not stories:
        raise DataError(f"{where}: the first story must begin with line 1. Got {line.number}.")
    before = stories[-1]
    if before and line.number <= before[-1].number:
        raise DataError(
            f"{where}: ids must rise within a story. Got {line.number} after {before[-1].number}."
        )
    facts = {each.number for each in before if not each.is_question}
    for number in line.supporting:
        if number not in facts:
            raise DataError(
                f"{where}: supporting id {number} is no earlier fact of this story. "
                f"Its facts: {', '.join(str(each) for each in sorted(facts)) or 'none'}."
            )
