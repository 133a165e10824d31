"""The rows of a training stream: a story in its background, and the question at its end."""

from typing import NamedTuple, final

import numpy as np

from armt.core.errors import ConfigError, DataError
from armt.tasks.babi.catalogue import BABI_TASKS, BabiTask
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import StoryLine
from armt.tasks.babilong.layout import Layout, RunningText, write_layout
from armt.tasks.babilong.mixture_config import ChatTemplate, MixtureStreamConfig
from armt.tasks.babilong.splitters import IntArray
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.walks import ReferenceWalk
from armt.tasks.contract import Ids, PlacedFact, TextEncoder

_PATIENCE = 200
_ANY_QUESTION = 1 << 32
_ASKED, _ANSWERED = "{asked}", "{answered}"


class Item(NamedTuple):
    """Tokens, of which the last ones are labels."""

    ids: Ids
    num_labels: int


class Row(NamedTuple):
    """One row, not yet written down."""

    layout: Layout
    """Background and the lines of the story."""

    num_labels: list[int]
    """Of each item of the layout: how many of its last tokens are labels."""

    tail: Item
    """What follows the layout; empty in a dense row."""

    facts: tuple[PlacedFact, ...]
    """The facts and where they stand."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the row."""
        return self.layout.num_tokens + len(self.tail.ids)


class _Told(NamedTuple):
    """The lines of a story that a row tells, and the question after them, if one is."""

    lines: tuple[StoryLine, ...]
    question: StoryLine | None
    supporting: frozenset[int]


@final
class RowMaker:
    """Makes the rows of a stream, each from nothing but its dice."""

    def __init__(
        self,
        config: MixtureStreamConfig,
        store: BackgroundStore,
        encoder: TextEncoder,
        template: ChatTemplate | None,
    ) -> None:
        """Prepares the form of the rows.

        Raises:
            ConfigError: chats are asked for without a template, or it hides what it is given.
        """
        self._config = config
        self._store = store
        self._encoder = encoder
        self._gen_id = encoder.gen_id
        self._known: dict[str, Ids] = {}
        self._facts: dict[str, Item] = {}
        self._chat = _frame(template) if config.form == "chat" else None

    def row(self, dice: Dice, task: str, size: int) -> Row:
        """Draws a row with a story of `task` and a length of `size` tokens.

        Raises:
            DataError: the stories of the task are too long for the size.
        """
        for _ in range(_PATIENCE):
            told = self._tell(dice, BABI_TASKS[task])
            items = [self._line(line) for line in told.lines]
            num_facts = [item.num_labels for item in items].count(0)
            is_short = num_facts + 1 <= size // self._config.tokens_per_line
            if is_short and sum([len(item.ids) for item in items]) <= size:
                return self._lay_out(dice, size, told, items)
        raise DataError(
            f"Of {_PATIENCE} stories of {task} none is short enough for a row of {size} tokens. "
            "Give longer `lengths`, or a smaller `tokens_per_line`."
        )

    def _tell(self, dice: Dice, task: BabiTask) -> _Told:
        if self._config.is_dense:
            lines = task.draw(dice).lines
            every = frozenset(number for line in lines for number in line.supporting)
            return _Told(lines, None, every)
        *before, question = task.draw_until(dice, dice.below(_ANY_QUESTION)).lines
        lines = tuple([line for line in before if line.answer is None])
        return _Told(lines, question, frozenset(question.supporting))

    def _lay_out(self, dice: Dice, size: int, told: _Told, items: list[Item]) -> Row:
        lens = [len(item.ids) for item in items]
        spans = ReferenceWalk(
            self._store, dice, max_sentence_len=self._config.placement.max_sentence_len(size)
        ).spans(size - sum(lens))
        text = RunningText(self._store, spans)
        gaps = self._config.placement.draw(text, lens, dice)
        head, tail = self._frame_of(told.question)
        layout = Layout(text, text.offsets(gaps), [item.ids for item in items], head)
        facts = [
            PlacedFact(line.text, start, length, line.number in told.supporting)
            for line, start, length in zip(told.lines, layout.starts, lens, strict=True)
            if line.answer is None
        ]
        return Row(layout, [item.num_labels for item in items], tail, tuple(facts))

    def _line(self, line: StoryLine) -> Item:
        if line.answer is not None:
            return self._answered(line.text, line.answer)
        found = self._facts.get(line.text)
        if found is None:
            found = self._facts[line.text] = Item(self._ids(" " + line.text), 0)
        return found

    def _answered(self, question: str, answer: str) -> Item:
        asked, answered = self._ids(question), self._ids(answer)
        ids = np.concatenate([asked, [self._gen_id], answered, [self._encoder.end_id]])
        return Item(ids, len(answered) + 2)

    def _frame_of(self, question: StoryLine | None) -> tuple[Ids, Item]:
        """Returns what stands before the layout and what after it."""
        none = np.zeros(0, dtype=np.int64)
        if question is None or question.answer is None:
            return none, Item(none, 0)
        first = self._ids(question.text) if self._config.question_at == "both" else none
        if self._chat is None:
            return first, self._answered(question.text, question.answer)
        before, between, after = self._chat
        asked = f" {question.text.strip()} {self._config.instruction}{between}"
        answered = self._ids(question.answer + after)
        tail = np.concatenate([self._ids(asked), answered])
        return np.concatenate([self._ids(before), first]), Item(tail, len(answered))

    def _ids(self, text: str) -> Ids:
        """Encodes `text` once: the sentences of the stories are few."""
        found = self._known.get(text)
        if found is None:
            found = np.asarray(self._encoder.encode(text), dtype=np.int64)
            self._known[text] = found
        return found


def write_row(row: Row, ids: IntArray, labels: IntArray) -> int:
    """Writes a row's tokens and labels; returns where the first label stands.

    `ids` and `labels` are as long as the row or longer; what follows it is not touched, nor is
    where no label is.
    """
    write_layout(row.layout, ids)
    end = row.num_tokens
    ids[end - len(row.tail.ids) : end] = row.tail.ids
    spans = [(end - row.tail.num_labels, end)]
    for start, item, num_labels in zip(
        row.layout.starts, row.layout.items, row.num_labels, strict=True
    ):
        if num_labels:
            spans.append((start + len(item) - num_labels, start + len(item)))
    for start, stop in spans:
        labels[start:stop] = ids[start:stop]
    return min(start for start, _ in spans)


def _frame(template: ChatTemplate | None) -> tuple[str, str, str]:
    """Returns what a template writes before the user's words, before the answer and after it."""
    if template is None:
        raise ConfigError(
            "Rows of the form 'chat' need a template. Pass `template=`, such as a function that "
            "calls `tokenizer.apply_chat_template(messages, tokenize=False)`."
        )
    text = template(
        [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": _ANSWERED}]
    )
    before, found_asked, rest = text.partition(_ASKED)
    between, found_answered, after = rest.partition(_ANSWERED)
    if not found_asked or not found_answered:
        raise ConfigError(
            "The chat template must show the user's message and then the assistant's, unchanged. "
            f"Of '{_ASKED}' and '{_ANSWERED}' it made {text[:200]!r}."
        )
    return before, between, after
