"""Chance that is the same on every machine and in every version of the libraries."""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar, final

T = TypeVar("T")


@final
class Dice:
    """Draws that depend on a key alone.

    Python promises that `random()` gives the same numbers for a seed in all versions; it promises
    nothing for its other draws, and neither does numpy. So everything here is made of `random()`.
    """

    def __init__(self, *key: str | int) -> None:
        """Seeds the dice by a hash of `key`, whose parts are told apart."""
        text = "\0".join(f"{type(part).__name__}:{part}" for part in key)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        self.random = random.Random(int.from_bytes(digest, "big")).random
        """Returns a number from 0 to below 1; everything else is made of it."""

    def below(self, count: int) -> int:
        """Returns a whole number from 0 to `count` - 1, each as likely."""
        assert count > 0, "nothing to draw from"
        return int(self.random() * count)

    def chance(self, share: float) -> bool:
        """Returns true with probability `share`."""
        return self.random() < share

    def pick(self, items: Sequence[T]) -> T:
        """Returns one of `items`, each as likely."""
        return items[int(self.random() * len(items))]

    def weigh(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """Returns one of `items` with probabilities in proportion to `weights`."""
        point = self.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            point -= weight
            if point < 0:
                return item
        return items[-1]

    def shuffle(self, items: Sequence[T]) -> list[T]:
        """Returns `items` in random order (Fisher and Yates)."""
        mixed, draw = list(items), self.random
        for last in range(len(mixed) - 1, 0, -1):
            other = int(draw() * (last + 1))
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed

    def take(self, items: Sequence[T], count: int) -> list[T]:
        """Returns `count` different entries of `items` in random order."""
        assert count <= len(items), f"cannot take {count} of {len(items)}"
        return self.shuffle(items)[:count]
