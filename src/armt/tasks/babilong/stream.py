"""The endless training stream of tasks 1 to 5: facts in a long text, and what was told is asked.

A row tells a story in a text for a number of batches, its epoch; `carry_len` tokens of it in each.
After them stands a tail that is thrown away again: a preview of the text that follows, then
questions with their answers. So each batch asks about everything told since the epoch began, while
the carried text itself never holds a question.

    row, batch k:    | carried text k * C .. (k + 1) * C | preview | questions, answers | filler |
    row, batch k+1:  | carried text (k + 1) * C ..       | ...

The filler (a few tokens of other text) makes all rows equally long without padding. It comes last:
in the evaluation questions stand right behind the text, be it at the beginning of a segment.
"""

import math
from collections.abc import Iterator
from copy import copy
from itertools import count
from typing import final

import numpy as np
import torch

from armt.core.errors import ConfigError, DataError
from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.borders import confuse_borders
from armt.tasks.babilong.confusers import Confusers, ConfusingWalk
from armt.tasks.babilong.labels import answer_labels
from armt.tasks.babilong.row_text import (
    BoolArray,
    BorderCuts,
    draw_dense_texts,
    draw_row_text,
    order_known,
)
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.babilong.walks import BackgroundWalk, Walk
from armt.tasks.babilong.world_table import Items
from armt.tasks.contract import Batch, TextEncoder
from armt.tasks.numbered import NumberedStream

_LENGTHS_SEED, _EPOCH_SEED, _BATCH_SEED, _DENSE_SEED = 1, 2, 3, 4
_NUM_DRAWN_LENGTHS = 256


@final
class FactStream:
    """Batches whose questions ask for facts told since the row's text began."""

    def __init__(
        self, config: FactStreamConfig, store: BackgroundStore, encoder: TextEncoder, seed: int = 0
    ) -> None:
        """Encodes the world once.

        Raises:
            ConfigError: the previews are too short to hold a fact.
            DataError: there is hardly any background.
        """
        self.config = config
        self.seed = seed
        self.store = store
        self._rows = range(config.batch_size)
        self.tables = config.tables(encoder)
        worlds = [table.world for table in self.tables]
        is_confusing = config.confuser_gap or config.confuser_border_share
        self.confusers = Confusers(store, encoder, worlds) if is_confusing else None
        self.max_fact_len = max(table.max_fact_len for table in self.tables)
        if config.carry_len + config.tail_len[0] < 2 * self.max_fact_len:
            raise ConfigError(
                f"`carry_len` and the least `tail_len` must be {2 * self.max_fact_len} together, "
                "so that there is room for two facts of the longest. Got "
                f"{config.carry_len} and {config.tail_len[0]}."
            )
        self.questions_len = config.num_questions * max(
            table.max_question_len for table in self.tables
        )
        self.max_filler_len = self.questions_len + self.max_fact_len
        if len(store.tokens) < self.max_filler_len:
            raise DataError(
                f"The background has only {len(store.tokens)} tokens; at least "
                f"{self.max_filler_len} are needed. Give more text."
            )

    @property
    def num_rows(self) -> int:
        """Rows of a batch."""
        return len(self._rows)

    def rows_of(self, part: int, num_parts: int) -> "FactStream":
        """Returns the stream of some rows of each batch; see `PartedStream`."""
        first, end = (self.num_rows * each // num_parts for each in (part, part + 1))
        stream = copy(self)
        stream._rows = self._rows[first:end]
        return stream

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yields the batches from number `start` on; see `TrainingStream`."""
        rows = [_Row(self, number, start) for number in self._rows]
        for step in count(start):
            yield self._batch(rows, step)

    def _batch(self, rows: "list[_Row]", step: int) -> Batch:
        config = self.config
        rng = np.random.default_rng([self.seed, _BATCH_SEED, step])
        preview_len = int(rng.choice(config.tail_lens))
        resets = torch.tensor([row.advance() for row in rows])
        is_quiet = torch.tensor([row.is_quiet for row in rows])
        asked = [row.ask(preview_len) for row in rows]
        body_len = config.carry_len + preview_len
        input_ids = np.empty((len(rows), body_len + self.questions_len), dtype=np.int64)
        is_answer = np.zeros(input_ids.shape, dtype=np.bool_)
        for row, items, ids, marks in zip(rows, asked, input_ids, is_answer, strict=True):
            row.fill(ids, marks, items)
        labels, weights = answer_labels(input_ids, is_answer, config.text_weight)
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=labels,
            label_weights=weights,
            carry_len=config.carry_len,
            label_start=0 if config.text_weight else max(0, body_len - self.max_fact_len),
            resets=resets,
            is_quiet=is_quiet if config.carry_len else None,
        )


@final
class DenseFactStream(NumberedStream[Batch]):
    """Batches of short texts with facts, questions and answers every few tokens."""

    def __init__(
        self, config: FactStreamConfig, store: BackgroundStore, encoder: TextEncoder, seed: int = 0
    ) -> None:
        """Encodes the world once."""
        self.config = config
        self.seed = seed
        self.store = store
        self.tables = config.tables(encoder)

    def batch(self, number: int) -> Batch:
        """Returns batch `number`; see `NumberedStream`."""
        config = self.config
        rng = np.random.default_rng([self.seed, _DENSE_SEED, number])
        walk = BackgroundWalk(self.store, rng)
        counts = [config.batch_size]
        if len(self.tables) > 1:
            chosen = rng.integers(len(self.tables), size=config.batch_size)
            counts = np.bincount(chosen, minlength=len(self.tables)).tolist()
        texts = [
            draw_dense_texts(walk, table, rng, (count, config.sequence_len), config.gap_len)
            for table, count in zip(self.tables, counts, strict=True)
            if count
        ]
        input_ids = np.concatenate([each.tokens for each in texts]).astype(np.int64)
        is_answer = np.concatenate([each.is_answer for each in texts])
        labels, weights = answer_labels(input_ids, is_answer, config.text_weight)
        return Batch(input_ids=torch.from_numpy(input_ids), labels=labels, label_weights=weights)


@final
class _Row:
    """One row's text and how far it has been read."""

    def __init__(self, stream: FactStream, number: int, start: int) -> None:
        self._stream = stream
        self._number = number
        self._lengths = _epoch_lengths(stream.config.epoch_steps, [stream.seed, number])
        self._epoch = 0
        self._num_steps = next(self._lengths)
        while start >= self._num_steps:
            start -= self._num_steps
            self._epoch += 1
            self._num_steps = next(self._lengths)
        self._step = start - 1
        self._cut = 0
        self._open_epoch()

    def advance(self) -> bool:
        """Goes on to the next batch; says whether the text begins anew with it."""
        self._step += 1
        if self._step == self._num_steps:
            self._epoch += 1
            self._num_steps = next(self._lengths)
            self._step = 0
            self._open_epoch()
        return self._step == 0

    @property
    def is_quiet(self) -> bool:
        """Whether no fact, nor a part of one, stands in the carried text of this batch.

        The second half of a fact alone is none: it can be told from one, and should leave no trace.
        """
        carry_len, text = self._stream.config.carry_len, self._text
        start = self._step * carry_len
        ended, begun = (
            np.searchsorted(text.fact_ends, start, side="right"),
            np.searchsorted(text.fact_starts, start + carry_len),
        )
        has_half = ((self._half_ends >= start) & (self._half_ends <= start + carry_len)).any()
        return int(ended) == int(begun) and not has_half

    def ask(self, preview_len: int) -> Items:
        """Sets the end of the preview, before a fact that it would cut, and asks what is known.

        The known is asked again if it is little, unless facts are asked for once; where nothing is
        there are no questions.
        """
        carried = (self._step + 1) * self._stream.config.carry_len
        text, end = self._text, carried + preview_len
        told = int(np.searchsorted(text.fact_ends, end, side="right"))
        is_inside = told < len(text.fact_starts) and text.fact_starts[told] < end
        # the first half of a fact may end the carried text
        self._cut = max(carried, int(text.fact_starts[told])) if is_inside else end
        known = text.known[told]
        questions = order_known(known, self._priorities[self._step])[: int((known >= 0).sum())]
        config = self._stream.config
        if config.asks_a_fact_once:
            _, firsts = np.unique(text.sources[told][questions], return_index=True)
            questions = questions[np.sort(firsts)][: config.num_questions]
        elif len(questions):
            questions = np.resize(questions, config.num_questions)
        return self._table.items(self._table.questions(questions, known[questions]))

    def fill(self, line: IntArray, is_answer: BoolArray, items: Items) -> None:
        """Writes carried text, preview, questions and filler, and marks the answers."""
        start = self._step * self._stream.config.carry_len
        text_len = self._cut - start
        filled = text_len + len(items.ids)
        line[:text_len] = self._text.tokens[start : self._cut]
        line[text_len:filled], is_answer[text_len:filled] = items.ids, items.is_answer
        # a book too short is repeated: its neighbours may be kept for testing
        filler = slice(int(self._fillers[self._step]), self._book_end)
        line[filled:] = np.resize(self._stream.store.tokens[filler], len(line) - filled)

    def _open_epoch(self) -> None:
        stream, config = self._stream, self._stream.config
        rng = np.random.default_rng([stream.seed, self._number, _EPOCH_SEED, self._epoch])
        choice = int(rng.integers(len(stream.tables))) if len(stream.tables) > 1 else 0
        self._table = stream.tables[choice]
        text_len = self._num_steps * config.carry_len + config.tail_len[1]
        walk = BackgroundWalk(stream.store, rng)
        source: Walk = walk
        if stream.confusers is not None and config.confuser_gap:
            source = ConfusingWalk(walk, stream.confusers, rng, config.confuser_gap)
        cuts = BorderCuts(config.border_share, config.segment_len)
        shape = (text_len, config.carry_len + config.tail_len[0])
        self._text = draw_row_text(source, self._table, rng, shape, config.gap_len, cuts)
        self._half_ends = np.zeros(0, dtype=np.int64)
        if stream.confusers is not None and config.confuser_border_share:
            others = BorderCuts(config.confuser_border_share, config.segment_len)
            share = config.half_fact_share
            self._half_ends = confuse_borders(self._text, rng, others, stream.confusers, share)
        drawn = rng.random((self._num_steps, self._text.known.shape[1]))
        self._priorities = self._table.priorities(drawn)
        # fillers begin at sentences of the book in which the walk has arrived, not too near its end
        offsets = stream.store.sentence_offsets
        starts = offsets[rng.integers(*walk.book, self._num_steps)]
        begin, self._book_end = (int(offsets[each]) for each in walk.book)
        self._fillers = np.clip(starts, begin, max(begin, self._book_end - stream.max_filler_len))


def _epoch_lengths(most: int, seed: list[int]) -> Iterator[int]:
    """Yields the batches of a row's epochs, log-uniform from 1 to `most`."""
    rng = np.random.default_rng([*seed, _LENGTHS_SEED])
    while True:
        drawn = np.exp(rng.uniform(0.0, math.log(most + 1), _NUM_DRAWN_LENGTHS))
        yield from np.clip(drawn.astype(np.int64), 1, most).tolist()
