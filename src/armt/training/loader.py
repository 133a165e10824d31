"""Makes the next batches in processes of their own while the present one is trained on."""

import os
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar, cast, final

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from armt.core.errors import ConfigError
from armt.tasks.contract import Batch, PartedStream, ShardedStream

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NUM_AHEAD = 8
"""Batches, or parts of one, that each process draws ahead."""

_MOST_WORKERS = 4


class BatchSource(Protocol[T_co]):
    """An endless, deterministic row of batches of any kind; a `TrainingStream` is one."""

    def batches(self, start: int = 0) -> Iterator[T_co]:
        """Yields the batches from number `start` on."""
        ...


def load_batches(
    stream: BatchSource[T], start: int, *, is_pinned: bool, num_workers: int | None = None
) -> Iterator[T]:
    """Yields the batches of `stream` from number `start` on.

    Processes of their own draw them, so that drawing never holds up the thread that trains: several
    where the stream can be shared out, by batches (`ShardedStream`) or by rows (`PartedStream`),
    else one. Their number changes no batch.

    Args:
        stream: what is drawn.
        start: number of the first batch.
        is_pinned: whether they lie in memory that a GPU can copy from without waiting.
        num_workers: processes; by default one for every four cores, from one to four.
    """
    num_workers = num_workers or min(max((os.cpu_count() or 1) // 4, 1), _MOST_WORKERS)
    if isinstance(stream, PartedStream):
        num_workers = min(num_workers, stream.num_rows)
        parts = _loader(_RowsDataset(stream, start), num_workers, is_pinned=False)
        joined = _joined(iter(parts), num_workers, is_pinned=is_pinned)
        return cast("Iterator[T]", joined)
    if not isinstance(stream, ShardedStream):
        num_workers = 1
    return iter(_loader(StreamDataset(stream, start), num_workers, is_pinned=is_pinned))


def _loader(dataset: IterableDataset[T], num_workers: int, *, is_pinned: bool) -> DataLoader[T]:
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=_NUM_AHEAD,
        pin_memory=is_pinned,
        worker_init_fn=_leave_group,
        # its own: to draw the workers' seed from that of dropout would set a resumed run astray
        generator=torch.Generator(),
    )


def _joined(parts: Iterator[Batch], num_parts: int, *, is_pinned: bool) -> Iterator[Batch]:
    """Yields whole batches; the loader takes a part of each worker in turn."""
    while True:
        batch = Batch.joined([next(parts) for _ in range(num_parts)])
        yield batch.pin_memory() if is_pinned else batch


def _leave_group(worker_id: int) -> None:
    """Lets a stop that reaches the whole group of processes, such as Ctrl-C, not end the worker.

    The process that trains finishes its step and writes a checkpoint, then ends its workers.
    """
    del worker_id
    if hasattr(os, "setpgrp"):  # not on Windows
        os.setpgrp()


@final
class StreamDataset(IterableDataset[T], Generic[T]):
    """A stream as torch's `DataLoader` wants it, with `batch_size=None` and any number of workers.

    The batches come in the stream's order, each from one worker, whatever their number; a stream
    that several ranks share is parted among them first (`stream.sharded(rank, num_ranks)`).
    """

    def __init__(self, stream: BatchSource[T], start: int = 0) -> None:
        """Takes a stream from batch `start` on."""
        self._stream = stream
        self._start = start

    def __iter__(self) -> Iterator[T]:
        """Yields the batches of this worker.

        Raises:
            ConfigError: there are several workers, and the stream's batches depend on each other.
        """
        worker = get_worker_info()
        if worker is None or worker.num_workers == 1:
            return self._stream.batches(self._start)
        if not isinstance(self._stream, ShardedStream):
            raise ConfigError(
                f"The batches of {type(self._stream).__name__} depend on each other: one worker "
                f"must make them all. Got {worker.num_workers}; pass `num_workers=1`."
            )
        first = self._start + worker.id  # the loader takes a batch of each worker in turn
        shard = self._stream.sharded(first % worker.num_workers, worker.num_workers)
        return cast("BatchSource[T]", shard).batches(first // worker.num_workers)


@final
class _RowsDataset(IterableDataset[Batch]):
    """Each worker's rows of a stream's batches."""

    def __init__(self, stream: PartedStream, start: int) -> None:
        """Takes a stream from batch `start` on."""
        self._stream = stream
        self._start = start

    def __iter__(self) -> Iterator[Batch]:
        """Yields the rows of this worker."""
        worker = get_worker_info()
        assert worker is not None, "rows are shared out among workers"
        return self._stream.rows_of(worker.id, worker.num_workers).batches(self._start)
