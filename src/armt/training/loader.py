"""Makes the next batches in a process of its own while the present one is trained on."""

from collections.abc import Iterator
from typing import final

from torch.utils.data import DataLoader, IterableDataset

from armt.tasks.contract import Batch, TrainingStream

_NUM_AHEAD = 8


def load_batches(stream: TrainingStream, start: int, *, is_pinned: bool) -> Iterator[Batch]:
    """Yields the batches of `stream` from number `start` on.

    One worker process draws them, so that drawing never holds up the thread that trains; with
    `is_pinned` they lie in memory that a GPU can copy from without waiting.
    """
    loader: DataLoader[Batch] = DataLoader(
        _StreamDataset(stream, start),
        batch_size=None,
        num_workers=1,
        prefetch_factor=_NUM_AHEAD,
        pin_memory=is_pinned,
    )
    return iter(loader)


@final
class _StreamDataset(IterableDataset[Batch]):
    """A stream as the loader wants it."""

    def __init__(self, stream: TrainingStream, start: int) -> None:
        self._stream = stream
        self._start = start

    def __iter__(self) -> Iterator[Batch]:
        return self._stream.batches(self._start)
