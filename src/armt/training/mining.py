"""Finds background that a memory writes for no reason, and trains on it.

What is written by mistake once in a hundred thousand segments costs answers over millions of
tokens, and is hardly ever seen in training. So before a stage its model reads far more background
than it is trained on, without gradients; the segments that change its memory are kept, and stand in
the stage's texts where nothing is told.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
import torch

from armt.core.errors import ConfigError
from armt.core.files import atomic_path
from armt.core.shapes import Bool, Int, Tensor
from armt.evaluation.answers import evaluating
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.stream import FactStream
from armt.tasks.babilong.walks import BackgroundWalk
from armt.tasks.contract import NO_LABEL, Batch, Ids
from armt.training.config import MiningConfig

_READ_SEED, _MIX_SEED = 11, 12
_NUM_ROWS, _NUM_SEGMENTS = 64, 32
"""Texts read side by side, and segments after which it is seen whether something was written."""

_MOST_WRITTEN = 0.1
"""Share of segments written beyond which it is no mistake but how the memory works."""


@final
class MinedStream:
    """A stream of facts whose quiet texts hold segments that were written by mistake."""

    def __init__(self, stream: FactStream, config: MiningConfig, path: Path) -> None:
        """Takes the stream, whose books are read, and the file of segments; see `prepare`."""
        self._stream, self._config, self._path = stream, config, path

    @property
    def num_found(self) -> int:
        """Segments that `prepare` has found."""
        return len(np.load(self._path))

    def prepare(self, model: Recurrent) -> None:
        """Mines the segments, unless their file is there.

        Raises:
            ConfigError: the memory writes so many segments that none is a mistake.
        """
        if self._path.exists():
            return
        stream = self._stream
        found = mine_segments(model, stream.store, self._config.num_tokens, stream.seed)
        with atomic_path(self._path) as path, path.open("wb") as file:
            np.save(file, found)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yields the batches from number `start` on; see `TrainingStream`."""
        segments = np.load(self._path)
        for step, batch in enumerate(self._stream.batches(start), start):
            yield self._mixed(batch, segments, step) if len(segments) else batch

    def _mixed(self, batch: Batch, segments: Ids, step: int) -> Batch:
        """Puts a segment into some of the rows that tell nothing."""
        assert batch.is_quiet is not None, "a stream that carries texts knows its quiet rows"
        rng = np.random.default_rng([self._stream.seed, _MIX_SEED, step])
        facts, share = self._stream.config, self._config.share
        is_taken = batch.is_quiet.numpy() & (rng.random(len(batch.is_quiet)) < share)
        ids, labels = batch.input_ids.clone(), batch.labels.clone()
        for row in is_taken.nonzero()[0].tolist():
            size = facts.segment_len
            first = size * int(rng.integers(facts.carry_len // size))
            place = (row, slice(first, first + size))
            segment = torch.from_numpy(segments[int(rng.integers(len(segments)))].astype(np.int64))
            ids[place] = segment
            labels[place] = torch.where(labels[place] == NO_LABEL, NO_LABEL, segment)
        return replace(batch, input_ids=ids, labels=labels)


def mine_segments(
    model: Recurrent, store: BackgroundStore, num_tokens: int, seed: int
) -> Int[np.ndarray, "K L"]:
    """Reads the books of `store` and returns the segments that change a memory.

    How a text begins does not count: a memory may write once because it is empty.

    Args:
        model: the model, in any mode.
        store: books without facts.
        num_tokens: how many tokens are read, at least.
        seed: decides where in the books.

    Raises:
        ConfigError: more than a tenth is written, as by gates that never close.
        StateError: the memory is no longer finite.
    """
    segment_len = model.recurrence.segment_len
    rng = np.random.default_rng([seed, _READ_SEED])
    walks = [BackgroundWalk(store, rng) for _ in range(_NUM_ROWS)]
    size = _NUM_SEGMENTS * segment_len
    found = [np.zeros((0, segment_len), dtype=store.tokens.dtype)]
    num_rounds = math.ceil(num_tokens / (_NUM_ROWS * size))
    with evaluating(model):
        begun = np.stack([walk.take(size).tokens for walk in walks])
        state, _ = read_watched(model, begun)
        for number in range(1, num_rounds + 1):
            rows = np.stack([walk.take(size).tokens for walk in walks])
            before = state
            state, is_written = read_watched(model, rows, before)
            for row in is_written.nonzero()[:, 0].tolist():
                segments = rows[row].reshape(-1, segment_len)
                fork = before.select_rows(torch.full((len(segments),), row))
                found.append(segments[read_watched(model, segments, fork)[1].numpy()])
            _check_share(sum(map(len, found)) / (number * _NUM_ROWS * _NUM_SEGMENTS))
    return np.concatenate(found)


def _check_share(share: float) -> None:
    """Checks that what was written can be mistakes."""
    if share > _MOST_WRITTEN:
        raise ConfigError(
            f"Mining wants a memory that leaves text without facts alone: {share:.0%} of the "
            "segments were written. Train it with hard gates and a write penalty first, or leave "
            "`mining` out."
        )


@torch.no_grad()
def read_watched(
    model: Recurrent, ids: Ids, state: RecurrentState | None = None
) -> tuple[RecurrentState, Bool[Tensor, " B"]]:
    """Reads on, by default from an empty memory; returns the state and whose memory changed.

    Raises:
        StateError: the memory is no longer finite.
    """
    before = model.init_state(len(ids)) if state is None else state
    after = model.read(torch.from_numpy(ids.astype(np.int64)), before)
    after.check_finite()
    changes = [
        _has_changed(old.to(new.device), new)
        for layers in zip(before.layers, after.layers, strict=True)
        for old, new in zip(*(layer.tensors().values() for layer in layers), strict=True)
    ]
    return after, torch.stack(changes).any(0).cpu()


def _has_changed(old: Tensor, new: Tensor) -> Bool[Tensor, " B"]:
    if old.shape != new.shape:  # a memory that grows
        return torch.ones(len(new), dtype=torch.bool, device=new.device)
    return (new != old).flatten(1).any(1)
