"""Numbers of right answers, and what may be concluded from them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

_Z95 = 1.959963984540054


class Interval(NamedTuple):
    """A range that holds a share with some confidence; both ends in [0, 1]."""

    low: float
    high: float


class Score(NamedTuple):
    """Right answers out of all."""

    num_correct: int
    num_samples: int

    @property
    def accuracy(self) -> float:
        """Share of right answers in [0, 1]; NaN without a sample."""
        return self.num_correct / self.num_samples if self.num_samples else math.nan

    @property
    def interval(self) -> Interval:
        """Where the true share lies with 95 % confidence."""
        return wilson_interval(self.num_correct, self.num_samples)


def wilson_interval(num_correct: int, num_samples: int, z: float = _Z95) -> Interval:
    """Returns the score interval of Wilson (1927), which holds at 0 % and 100 % too.

    Args:
        num_correct: right answers.
        num_samples: all answers; without one the interval is everything.
        z: quantile of the normal distribution; 95 % by default.
    """
    assert 0 <= num_correct <= num_samples, f"{num_correct} of {num_samples} is no share"
    if num_samples == 0:
        return Interval(0.0, 1.0)
    share, per_sample = num_correct / num_samples, z * z / num_samples
    centre = share + per_sample / 2
    spread = z * math.sqrt((share * (1 - share) + per_sample / 4) / num_samples)
    low = (centre - spread) / (1 + per_sample)
    high = (centre + spread) / (1 + per_sample)
    # at 0 % and 100 % rounding can put the share itself outside
    return Interval(max(0.0, min(low, share)), min(1.0, max(high, share)))


class Comparison(NamedTuple):
    """Two subjects asked the same questions."""

    num_both: int
    """Questions that both answered rightly."""

    num_first: int
    """Questions that the first alone answered rightly."""

    num_second: int
    """Questions that the second alone answered rightly."""

    num_neither: int
    """Questions that both answered wrongly."""

    @property
    def p_value(self) -> float:
        """How probable so uneven a difference is between two subjects that are equally good.

        The exact two-sided test of McNemar (1947): of the questions that one alone answered
        rightly, each half belongs to either with the same probability.
        """
        num_uneven = self.num_first + self.num_second
        term = total = 1
        for number in range(min(self.num_first, self.num_second)):
            term = term * (num_uneven - number) // (number + 1)
            total += term
        return min(1.0, 2 * total / 2**num_uneven) if num_uneven else 1.0


def compare(first: Sequence[bool], second: Sequence[bool]) -> Comparison:
    """Counts who was right where; entry i of both is the same question.

    Args:
        first: whether the first subject was right, for each question.
        second: whether the second was.
    """
    assert len(first) == len(second), f"{len(first)} answers cannot pair with {len(second)}"
    pairs = list(zip(first, second, strict=True))
    return Comparison(
        pairs.count((True, True)),
        pairs.count((True, False)),
        pairs.count((False, True)),
        pairs.count((False, False)),
    )


def chance(truths: Sequence[str]) -> float:
    """Returns the accuracy of always giving the most frequent answer; NaN without a sample."""
    if not truths:
        return math.nan
    return max(truths.count(truth) for truth in set(truths)) / len(truths)
