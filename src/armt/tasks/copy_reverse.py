"""Copy and reverse: a row of digits, then the same row again, as it was or backwards.

Source: Bulatov, Kuratov, Burtsev, "Recurrent Memory Transformer", arXiv:2207.06881. Copy tells the
source twice, reverse once, and a start token asks for it. Layout of copy: the source, GEN, the
source, the source, END. The segments are shorter than a row, so what is to be told must go through
the memory. Where we differ: END stands behind the answer, as in the other tasks; and blanks may
stand before GEN, as in the copying memory problem of Hochreiter and Schmidhuber (1997), so that a
source of one length is held over any number of segments.
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch

from armt.core.errors import ConfigError
from armt.core.shapes import Int, Tensor
from armt.tasks.contract import Batch
from armt.tasks.symbols import (
    Prompts,
    SymbolTask,
    SymbolTaskConfig,
    batch_with_answers,
    split_answers,
)

NUM_SYMBOLS = 10
"""Digits of a source."""

GEN_ID, END_ID = 10, 11
"""Before and after the answer."""

BLANK_ID = 12
"""Between source and GEN."""

VOCAB_SIZE = 16
"""Entries of the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class CopyReverseConfig(SymbolTaskConfig):
    """Options of `CopyReverse`."""

    vocab_size = VOCAB_SIZE
    end_id = END_ID

    kind: Literal["copy", "reverse"] = "copy"
    """Whether the source is told as it was or backwards."""

    source_len: int = 24
    """Digits of a source."""

    num_repeats: int = 2
    """How often it is told; the paper copies twice and reverses once."""

    num_blanks: int = 0
    """Tokens over which the source is held before it is asked for. In training a batch has any
    whole number of source lengths of them, up to this; else what is held over one number of
    segments is lost over every other."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.kind not in ("copy", "reverse"):
            raise ConfigError(f"`kind` must be 'copy' or 'reverse'. Got {self.kind!r}.")
        for name in ("source_len", "num_repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.num_blanks < 0:
            raise ConfigError(f"`num_blanks` must not be negative. Got {self.num_blanks}.")

    @property
    def answer_len(self) -> int:
        """Tokens of the answer, END included."""
        return self.num_repeats * self.source_len + 1

    @property
    def sequence_len(self) -> int:
        """Tokens of a row: source, blanks, GEN and answer."""
        return self.source_len + self.num_blanks + 1 + self.answer_len

    def build(self) -> "CopyReverse":
        """Returns the task."""
        return CopyReverse(self)


@final
class CopyReverse(SymbolTask):
    """Tell a row of digits again, forwards or backwards; loss on the answer."""

    def __init__(self, config: CopyReverseConfig) -> None:
        """Takes the options."""
        self.config = config

    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns rows to train on."""
        source_len = self.config.source_len
        num_blanks = source_len * int(rng.integers(self.config.num_blanks // source_len + 1))
        return batch_with_answers(self._draw(rng, num_rows, num_blanks), self.config.answer_len)

    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns sources with blanks and GEN, and the answers."""
        rows = self._draw(rng, num_rows, self.config.num_blanks)
        return split_answers(rows, self.config.answer_len)

    def _draw(self, rng: np.random.Generator, num_rows: int, num_blanks: int) -> Int[Tensor, "B T"]:
        config = self.config
        source = rng.integers(NUM_SYMBOLS, size=(num_rows, config.source_len))
        told = source if config.kind == "copy" else source[:, ::-1]
        blanks = np.full((num_rows, num_blanks), BLANK_ID)
        gen, end = np.full((num_rows, 1), GEN_ID), np.full((num_rows, 1), END_ID)
        rows = [source, blanks, gen, *[told] * config.num_repeats, end]
        return torch.from_numpy(np.concatenate(rows, axis=1))
