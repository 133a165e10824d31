"""Streams whose batch number k is drawn from k alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from itertools import count
from typing import Generic, Self, TypeVar

from armt.core.errors import ConfigError

T = TypeVar("T")


class NumberedStream(ABC, Generic[T]):
    """Batches that do not depend on each other, so that several readers can share them."""

    _first, _stride = 0, 1

    @abstractmethod
    def batch(self, number: int) -> T:
        """Returns batch `number` of the whole stream, from 0 on."""

    def batches(self, start: int = 0) -> Iterator[T]:
        """Yields the batches from number `start` on; see `TrainingStream`."""
        for step in count(start):
            yield self.batch(self._first + self._stride * step)

    def sharded(self, rank: int, num_shards: int) -> Self:
        """Returns the part of this stream that one of `num_shards` readers takes.

        Its batch k is this stream's batch `k * num_shards + rank`; parts may be parted again, among
        ranks first and then among the workers of each.

        Raises:
            ConfigError: there is no such part.
        """
        if not 0 <= rank < num_shards:
            raise ConfigError(
                f"A shard is a number from 0 to the number of shards - 1. Got {rank} of "
                f"{num_shards}."
            )
        part = copy(self)
        part._first = self._first + self._stride * rank
        part._stride = self._stride * num_shards
        return part
