"""Makes the next batches in processes of their own while the present one is trained on."""

import os
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar, cast, final

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from armt.core.errors import ConfigError
from armt.tasks.contract import ShardedStream

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NUM_AHEAD = 8


class BatchSource(Protocol[T_co]):
    """An endless, deterministic row of batches of any kind; a `TrainingStream` is one."""

    def batches(self, start: int = 0) -> Iterator[T_co]:
        """Yields the batches from number `start` on."""
        ...


def load_batches(stream: BatchSource[T], start: int, *, is_pinned: bool) -> Iterator[T]:
    """Yields the batches of `stream` from number `start` on.

    One worker process draws them, so that drawing never holds up the thread that trains; with
    `is_pinned` they lie in memory that a GPU can copy from without waiting.
    """
    loader: DataLoader[T] = DataLoader(
        StreamDataset(stream, start),
        batch_size=None,
        num_workers=1,
        prefetch_factor=_NUM_AHEAD,
        pin_memory=is_pinned,
        worker_init_fn=_leave_group,
    )
    return iter(loader)


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
