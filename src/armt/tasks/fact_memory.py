"""Facts to be kept over a long text, asked for at its end: the three tasks of BERT with RMT.

| kind | facts | asked |
|---|---|---|
| `memorise` | one, before all else | where a person is |
| `detect_and_memorise` | one, anywhere | where a person is |
| `reasoning` | two, anywhere, in their order | which place lies beside another |

The answer is one of six places, told as a class. The rest is natural text.

Source: Bulatov et al., "Scaling Transformer to 1M tokens and beyond with RMT", arXiv:2304.11062.
Facts and questions are those of bAbI tasks 1 and 4, as there; the text around them is the caller's.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, final

import numpy as np
import torch

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.core.shapes import Bool, Int, Tensor
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.sentences import PEOPLE, PLACES, move_text, where_is_person
from armt.tasks.babi.stories.two_arg_relations import draw_story
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.walks import BackgroundWalk
from armt.tasks.contract import Ids, TextEncoder

NUM_CLASSES = len(PLACES)
"""Answers there are: the places of bAbI."""

NO_ANSWER = -1
"""In the place of a class, where a text does not tell what it asks for."""

_HELD_OUT_EVERY = 10
"""One book in so many is held out where a training is validated."""


class FactBatch(NamedTuple):
    """Texts of whole segments with a question at the end, and the number of the right place."""

    input_ids: Int[Tensor, "B T"]
    """Tokens; shorter rows stand at the right."""

    attention_mask: Bool[Tensor, "B T"]
    """False at the space before a shorter row."""

    labels: Int[Tensor, " B"]
    """The right class, or `NO_ANSWER`."""


@dataclass(frozen=True, kw_only=True)
class FactMemoryConfig(Config):
    """Options of `FactMemory`."""

    kind: Literal["memorise", "detect_and_memorise", "reasoning"] = "memorise"
    """Which of the three tasks."""

    segment_len: int
    """Text tokens of a segment; every text is whole segments."""

    lateness: int = 1
    """Places drawn for a fact, the last of which it takes: more than one to train on texts that say
    nothing for long, as most of a far longer text does."""

    blank_share: float = 0.0
    """Share of the texts that tell no fact and have no answer: to train on what is none. What is
    taken for a fact in a long text stands in the way of the one that comes."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.kind not in ("memorise", "detect_and_memorise", "reasoning"):
            raise ConfigError(
                "`kind` must be 'memorise', 'detect_and_memorise' or 'reasoning'. Got "
                f"{self.kind!r}."
            )
        if self.segment_len < 1:
            raise ConfigError(f"`segment_len` must be at least 1. Got {self.segment_len}.")
        if self.lateness < 1:
            raise ConfigError(f"`lateness` must be at least 1. Got {self.lateness}.")
        if not 0 <= self.blank_share < 1:
            raise ConfigError(f"`blank_share` must lie in [0, 1). Got {self.blank_share}.")

    def build(self, store: BackgroundStore, encoder: TextEncoder) -> "FactMemory":
        """Returns the task over the texts of `store`."""
        return FactMemory(self, store, encoder)


@final
class FactMemory:
    """Draws texts of any length; the same numbers give the same texts."""

    def __init__(
        self, config: FactMemoryConfig, store: BackgroundStore, encoder: TextEncoder
    ) -> None:
        """Takes the natural text and its tokens."""
        self.config, self._store, self._encoder = config, store, encoder

    def changed(self, *, lateness: int, blank_share: float) -> "FactMemory":
        """Returns the task with these options."""
        config = replace(self.config, lateness=lateness, blank_share=blank_share)
        return FactMemory(config, self._store, self._encoder)

    def parted(self) -> tuple["FactMemory", "FactMemory"]:
        """Returns the task over nine books of ten, and over the others.

        Raises:
            ConfigError: there is but one book.
        """
        books = self._store.books
        if len(books) < 2:
            raise ConfigError("Books cannot be held out of one. Give more, or no `validation`.")
        held = books[::_HELD_OUT_EVERY]
        rest = tuple(book for book in books if book not in held)
        first, second = (replace(self._store, books=each) for each in (rest, held))
        return (
            FactMemory(self.config, first, self._encoder),
            FactMemory(self.config, second, self._encoder),
        )

    def batch(self, num_segments: list[int], *key: str | int) -> FactBatch:
        """Returns one row for each number of segments.

        Args:
            num_segments: how many whole segments each row has.
            *key: decides the rows; equal keys give equal rows.

        Raises:
            ConfigError: facts and question do not fit a row.
        """
        return self.short_batch([each * self.config.segment_len for each in num_segments], *key)

    def short_batch(self, num_tokens: list[int], *key: str | int) -> FactBatch:
        """Returns one row for each number of tokens, not whole segments; see `batch`."""
        width = max(num_tokens)
        ids = torch.zeros(len(num_tokens), width, dtype=torch.long)
        mask = torch.zeros(len(num_tokens), width, dtype=torch.bool)
        labels = torch.zeros(len(num_tokens), dtype=torch.long)
        for row, number in enumerate(num_tokens):
            text, label = self._draw(number, Dice(*key, row))
            ids[row, width - len(text) :] = torch.from_numpy(text.astype(np.int64))
            mask[row, width - len(text) :], labels[row] = True, label
        return FactBatch(ids, mask, labels)

    def _draw(self, num_tokens: int, dice: Dice) -> tuple[Ids, int]:
        """Returns a text of so many tokens, and the class of the answer to its question."""
        facts, question, label = self._tell(dice)
        told = [np.asarray(self._encoder.encode(f" {fact}")) for fact in facts]
        asked = np.asarray(self._encoder.encode(f" {question.strip()}"))
        num_left = num_tokens - len(asked) - sum(len(each) for each in told)
        if num_left < 0:
            raise ConfigError(
                f"Facts and question do not fit a text of {num_tokens} tokens. Choose more or "
                "longer segments."
            )
        walk = BackgroundWalk(self._store, np.random.default_rng(dice.below(1 << 53)))
        background = walk.take(num_left)
        gaps = [0] * len(told)
        if self.config.kind != "memorise":
            gaps = sorted(self._draw_gap(background.gaps, dice) for _ in told)
        text, done = list[Ids](), 0
        for gap, fact in zip(gaps, told, strict=True):
            text += [background.tokens[done:gap], fact]
            done = gap
        return np.concatenate([*text, background.tokens[done:], asked]), label

    def _draw_gap(self, gaps: Ids, dice: Dice) -> int:
        """Returns the last of as many places between sentences as the task draws for a fact."""
        return int(gaps[max(dice.below(len(gaps)) for _ in range(self.config.lateness))])

    def _tell(self, dice: Dice) -> tuple[list[str], str, int]:
        """Returns facts, question and the class of its answer; or a question alone."""
        share = self.config.blank_share
        # no throw without the option: equal keys give the texts that they gave before there was one
        is_blank = share > 0 and dice.chance(share)
        if self.config.kind == "reasoning":
            lines = draw_story(dice).lines
            asked = next(line for line in lines if line.is_question)
            assert asked.answer is not None, "a question has an answer"
            facts = [line.text for line in lines if not line.is_question]
            question, answer = asked.text, asked.answer
        else:
            person, answer = dice.pick(PEOPLE), dice.pick(PLACES)
            facts, question = [move_text(dice, person, answer)], where_is_person(person)
        if is_blank:
            return [], question, NO_ANSWER
        return facts, question, PLACES.index(answer)
