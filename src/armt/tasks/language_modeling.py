"""Language modelling: runs of whole segments from a library of books, every token predicted.

What a memory is worth shows in the bits per byte by the number of the segment: without one, later
segments are no easier than the first. Bytes, not tokens, so that tokenizers can be compared.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from armt.core.config import Config
from armt.core.errors import ConfigError, DataError
from armt.core.shapes import Float, Int, Tensor
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import Batch, TextEncoder
from armt.tasks.numbered import NumberedStream

_TRAIN_SEED, _EVALUATION_SEED = 1, 2


@dataclass(frozen=True, kw_only=True)
class LanguageModelingConfig(Config):
    """Options of `LanguageModeling`."""

    segment_len: int = 512
    """Tokens of a segment."""

    num_segments: int = 8
    """Segments of a row; all from one book."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.segment_len < 2:
            raise ConfigError(f"`segment_len` must be at least 2. Got {self.segment_len}.")
        if self.num_segments < 1:
            raise ConfigError(f"`num_segments` must be at least 1. Got {self.num_segments}.")

    @property
    def sequence_len(self) -> int:
        """Tokens of a row."""
        return self.num_segments * self.segment_len

    def build(self, store: BackgroundStore, encoder: TextEncoder) -> "LanguageModeling":
        """Returns the task over the books of `store`.

        Raises:
            DataError: no book is as long as a row.
        """
        return LanguageModeling(self, store, encoder)


@final
class LanguageModeling:
    """Predict every token of a long text from those before it."""

    def __init__(
        self, config: LanguageModelingConfig, store: BackgroundStore, encoder: TextEncoder
    ) -> None:
        """Finds the books that are long enough."""
        self.config, self.store, self.encoder = config, store, encoder
        edges = store.sentence_offsets[store.book_offsets]
        numbers = np.asarray(store.books, dtype=np.int64)
        lens = np.diff(edges)[numbers]
        is_long = lens >= config.sequence_len
        if not is_long.any():
            raise DataError(
                f"No book is as long as a row of {config.sequence_len} tokens; the longest has "
                f"{int(lens.max(initial=0))}. Lower `num_segments`, or give longer books."
            )
        self._starts, self._lens = edges[numbers][is_long], lens[is_long]

    def stream(self, batch_size: int, seed: int = 0) -> "LanguageStream":
        """Returns the endless training stream of `seed`."""
        return LanguageStream(self, batch_size, seed)

    def draw(self, rng: np.random.Generator, num_rows: int) -> Int[Tensor, "B T"]:
        """Returns rows that begin anywhere in a book, all places as likely."""
        num_places = self._lens - self.config.sequence_len + 1
        ends = np.cumsum(num_places)
        drawn = rng.integers(ends[-1], size=num_rows)
        book = np.searchsorted(ends, drawn, side="right")
        return self._rows(self._starts[book] + drawn - (ends - num_places)[book])

    def evaluation_rows(self, num_rows: int, seed: int = 0) -> Int[Tensor, "B T"]:
        """Returns rows that share no token, drawn among all that lie end to end in their books.

        Raises:
            DataError: there are not so many.
        """
        size = self.config.sequence_len
        pairs = zip(self._starts.tolist(), self._lens.tolist(), strict=True)
        starts = [
            start + size * index for start, length in pairs for index in range(length // size)
        ]
        if num_rows > len(starts):
            raise DataError(
                f"The books hold {len(starts)} rows of {size} tokens that do not overlap. Got "
                f"{num_rows}: ask for fewer, or give more books."
            )
        rng = np.random.default_rng([seed, _EVALUATION_SEED])
        return self._rows(rng.permutation(np.asarray(starts))[:num_rows])

    def num_bytes(self, rows: Int[Tensor, "B T"]) -> Int[Tensor, "B S"]:
        """Returns the bytes of the predicted text in each segment of each row.

        The first token of a row is not predicted. A character that an edge cuts in two counts as
        the sign for a damaged one on both sides, two bytes more or less.
        """
        edges = [1, *range(self.config.segment_len, rows.shape[1] + 1, self.config.segment_len)]
        sizes = [
            [self._size(row[start:stop]) for start, stop in pairwise(edges)] for row in rows.numpy()
        ]
        return torch.tensor(sizes)

    def _size(self, ids: npt.NDArray[np.int64]) -> int:
        return len(self.encoder.decode(ids).encode())

    def _rows(self, starts: npt.NDArray[np.int64]) -> Int[Tensor, "B T"]:
        places = starts[:, None] + np.arange(self.config.sequence_len)
        return torch.from_numpy(self.store.tokens[places].astype(np.int64))


@final
class LanguageStream(NumberedStream[Batch]):
    """Training batches with loss on every token; each row begins anew."""

    def __init__(self, task: LanguageModeling, batch_size: int, seed: int) -> None:
        """Takes the task, the rows of a batch and the seed."""
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1. Got {batch_size}.")
        self.task, self.batch_size, self.seed = task, batch_size, seed

    def batch(self, number: int) -> Batch:
        """Returns batch `number`; see `NumberedStream`."""
        rng = np.random.default_rng([self.seed, _TRAIN_SEED, number])
        rows = self.task.draw(rng, self.batch_size)
        return Batch(input_ids=rows, labels=rows.clone())


def bits_per_byte(
    losses: Float[Tensor, "B T"], num_bytes: Int[Tensor, "B S"]
) -> Float[Tensor, " S"]:
    """Returns the bits that a byte of the text costs, by segment, over all rows together.

    Args:
        losses: loss in nats of each token of the rows; the first of a row is not predicted, and
            what stands there does not count.
        num_bytes: bytes of the predicted text in each segment; the segments are of one length.
    """
    nats = losses.double().clone()
    nats[:, 0] = 0
    by_segment = nats.unflatten(1, (num_bytes.shape[1], -1)).sum((0, 2))
    return by_segment / math.log(2) / num_bytes.sum(0)
