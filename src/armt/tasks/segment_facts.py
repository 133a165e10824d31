"""Facts told segment by segment, and questions at the end about those of one segment.

    fact segment       [TITLE ...] fact fact ... noise
    announcement       TITLE TITLE ...                            with several titles only
    questions          GEN key value key value ... END            all about one segment's facts

A fact is one token, that of a key and a value together: what has to be learned is to hold it, not
to read it. Titles come in turn. Segments of one title tell of different keys, those of different
titles of the same keys, so that a key alone does not say which value is meant. So one task covers
three experiments:

| titles | what it is | made for |
|---|---|---|
| 1 (not told) | facts that many segments of other facts follow | MemoryLLM, arXiv:2402.04624; M+ |
| 2 | two topics that alternate | HMT, arXiv:2405.06067, on interleaved contexts |
| one a segment | facts under titles, one of which is named again | MemLong, arXiv:2408.16967 |

The papers tell their facts in natural language. The title fills a segment of its own before the
questions: a memory that looks for something can know what for, without a look at what it has to
predict.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from armt.core.errors import ConfigError
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.symbols import Prompts, SymbolTask, SymbolTaskConfig

NUM_KEYS, NUM_VALUES, NUM_TITLES, NUM_NOISES = 64, 16, 64, 16
"""Symbols of each kind; there is a fact for every key with every value."""

FIRST_FACT = 0
FIRST_KEY = FIRST_FACT + NUM_KEYS * NUM_VALUES
FIRST_VALUE = FIRST_KEY + NUM_KEYS
FIRST_TITLE = FIRST_VALUE + NUM_VALUES
FIRST_NOISE = FIRST_TITLE + NUM_TITLES
"""The first token of each kind."""

GEN_ID, END_ID = FIRST_NOISE + NUM_NOISES, FIRST_NOISE + NUM_NOISES + 1
"""Before and after the questions."""

VOCAB_SIZE = 1280
"""Entries of the vocabulary."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SegmentFactsConfig(SymbolTaskConfig):
    """Options of `SegmentFacts`."""

    vocab_size = VOCAB_SIZE
    end_id = END_ID

    segment_len: int = 16
    """Tokens that a segment's facts are filled up to with noise."""

    num_segments: int = 8
    """Segments that tell facts."""

    num_facts: int = 4
    """Facts of a segment."""

    num_titles: int = 1
    """Titles that the segments bear in turn; one is none, and is not told."""

    title_len: int = 1
    """Times that a title stands at the start of its segment."""

    num_distractors: int | None = None
    """Segments that tell facts after the one that is asked for; none for any number."""

    is_filled: bool = True
    """Whether there is noise. Without it, one segment's facts and the questions fit one segment:
    to learn to look up."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("segment_len", "num_segments", "num_facts", "title_len"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        most = min(self.num_segments, NUM_TITLES)
        if not 1 <= self.num_titles <= most:
            raise ConfigError(f"`num_titles` must be from 1 to {most}. Got {self.num_titles}.")
        if self.num_keys > NUM_KEYS:
            raise ConfigError(
                f"There are {NUM_KEYS} keys, and segments of one title share none. Got "
                f"{self.num_segments} segments of {self.num_facts} facts: lower either, or raise "
                "`num_titles`."
            )
        if self.is_filled and self.told_len > self.segment_len:
            raise ConfigError(
                f"The facts of a segment take {self.told_len} tokens. Got `segment_len` "
                f"{self.segment_len}."
            )
        asked = self.num_distractors
        if asked is not None and not 0 <= asked < self.num_segments:
            raise ConfigError(
                f"`num_distractors` must be from 0 to {self.num_segments - 1}. Got {asked}."
            )

    @property
    def has_titles(self) -> bool:
        """Whether titles are told."""
        return self.num_titles > 1

    @property
    def told_len(self) -> int:
        """Tokens of a segment's facts with their title, without noise."""
        return self.num_facts + self.title_len * self.has_titles

    @property
    def num_keys(self) -> int:
        """Keys that the segments of one title share out among themselves."""
        return self.num_facts * -(-self.num_segments // self.num_titles)

    def build(self) -> "SegmentFacts":
        """Returns the task."""
        return SegmentFacts(self)


@final
class SegmentFacts(SymbolTask):
    """Tell facts in many segments, ask for those of one; loss on the values asked for."""

    def __init__(self, config: SegmentFactsConfig) -> None:
        """Takes the options."""
        self.config = config

    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns rows to train on; all facts of the segment asked for are asked, in any order."""
        text, keys, values = self._draw(rng, num_rows)
        asked = np.stack([keys, values], axis=-1).reshape(num_rows, -1)
        gen, end = (np.full((num_rows, 1), token) for token in (GEN_ID, END_ID))
        rows = torch.from_numpy(np.concatenate([text, gen, asked, end], axis=1))
        labels, start = torch.full_like(rows, NO_LABEL), text.shape[1] + 2
        labels[:, start:-1:2] = rows[:, start:-1:2]
        labels[:, -1] = END_ID
        return Batch(input_ids=rows, labels=labels, label_start=start)

    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns the segments with the first question, and its value."""
        text, keys, values = self._draw(rng, num_rows)
        gen = np.full((num_rows, 1), GEN_ID)
        prompts = np.concatenate([text, gen, keys[:, :1]], axis=1)
        return Prompts(torch.from_numpy(prompts), torch.from_numpy(values[:, :1]))

    def _draw(self, rng: np.random.Generator, num_rows: int) -> tuple[IntArray, IntArray, IntArray]:
        """Returns the text before the questions, and keys and values that are asked for.

        Shapes: (rows, tokens), (rows, facts), (rows, facts).
        """
        config, every = self.config, np.arange(num_rows)[:, None]
        keys = self._draw_keys(rng, num_rows)
        values = rng.integers(NUM_VALUES, size=keys.shape)
        titles = FIRST_TITLE + _draw_distinct(rng, NUM_TITLES, num_rows)[:, : config.num_titles]
        titles = titles[:, np.arange(config.num_segments) % config.num_titles]
        last = config.num_segments - 1
        drawn = rng.integers(config.num_segments, size=(num_rows, 1))
        asked = (
            drawn
            if config.num_distractors is None
            else np.full_like(drawn, last - config.num_distractors)
        )
        told = FIRST_FACT + NUM_VALUES * keys + values
        if config.has_titles:
            told = np.concatenate([titles[..., None].repeat(config.title_len, -1), told], axis=-1)
        text = self._fill(rng, told).reshape(num_rows, -1)
        if config.has_titles:
            announcement_len = config.segment_len if config.is_filled else 1
            text = np.concatenate([text, *[titles[every, asked]] * announcement_len], axis=1)
        order = _draw_distinct(rng, config.num_facts, num_rows)
        chosen = every, asked, order
        return text, FIRST_KEY + keys[chosen], FIRST_VALUE + values[chosen]

    def _draw_keys(self, rng: np.random.Generator, num_rows: int) -> IntArray:
        """Returns which keys each segment tells of, (rows, segments, facts)."""
        config = self.config
        shared = _draw_distinct(rng, NUM_KEYS, num_rows)[:, : config.num_keys]
        by_title = np.repeat(shared[:, None], config.num_titles, axis=1)
        by_title = rng.permuted(by_title, axis=-1)
        by_title = by_title.reshape(num_rows, config.num_titles, -1, config.num_facts)
        # segment s is number s // T of title s % T
        in_turn = by_title.swapaxes(1, 2).reshape(num_rows, -1, config.num_facts)
        return in_turn[:, : config.num_segments]

    def _fill(self, rng: np.random.Generator, told: IntArray) -> IntArray:
        """Returns what a segment tells, along the last axis, with noise behind it."""
        if not self.config.is_filled:
            return told
        num_missing = self.config.segment_len - told.shape[-1]
        noise = rng.integers(NUM_NOISES, size=(*told.shape[:-1], num_missing))
        return np.concatenate([told, FIRST_NOISE + noise], axis=-1)


def _draw_distinct(rng: np.random.Generator, number: int, num_rows: int) -> IntArray:
    """Returns in each row the numbers below `number` in random order."""
    return rng.permuted(np.tile(np.arange(number), (num_rows, 1)), axis=1)
