"""What the borders of segments cut: facts, and sentences that look like facts.

By chance a border cuts one fact in a hundred. Then half of it is read with one segment and half
with the next, and only the memory can put it together. From so few this is not learned. But where
facts are cut on purpose, a segment that begins with a place comes to mean a fact: so as many other
sentences should be cut as well.
"""

from typing import NamedTuple

import numpy as np

from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.confusers import Confusers
from armt.tasks.contract import Ids


class RowText(NamedTuple):
    """A text, where its facts stand, and what is known after each of them."""

    tokens: Ids
    fact_starts: IntArray
    fact_ends: IntArray
    known: IntArray
    """Places of all people after so many facts, (number of facts + 1, people)."""


class BorderCuts(NamedTuple):
    """What share of facts, or of borders, is to be chosen, and how far the borders are apart."""

    share: float
    segment_len: int


def move_onto_borders(
    positions: IntArray, lens: IntArray, rng: np.random.Generator, cuts: BorderCuts
) -> IntArray:
    """Moves some of the items so that the nearest border of segments after the first cuts them.

    Where two would meet, the later one follows the earlier, uncut if it must be.

    Args:
        positions: where in the background the items are put in, rising.
        lens: tokens of each item, at least two.
        rng: decides which are moved, and where they are cut.
        cuts: how many, and where the borders are.
    """
    pushed = np.cumsum(lens) - lens
    is_moved = rng.random(len(positions)) < cuts.share
    borders = np.maximum(np.round((positions + pushed) / cuts.segment_len), 1) * cuts.segment_len
    starts = borders.astype(np.int64) - rng.integers(1, lens)
    return np.maximum.accumulate(np.where(is_moved, starts - pushed, positions))


def confuse_borders(
    text: RowText, rng: np.random.Generator, cuts: BorderCuts, confusers: Confusers
) -> None:
    """Writes sentences that look like facts over some borders, cut near what looks like one.

    Args:
        text: its tokens are changed in place, but none of a fact.
        rng: decides borders, sentences and where they are cut.
        cuts: how many of the borders, and where they are.
        confusers: where the sentences come from.
    """
    tokens, fact_starts = text.tokens, text.fact_starts
    borders = np.arange(cuts.segment_len, len(tokens), cuts.segment_len)
    for border in borders[rng.random(len(borders)) < cuts.share].tolist():
        sentence, cut = confusers.draw_cut(rng)
        start = border - cut
        stop = start + len(sentence)
        following = int(np.searchsorted(text.fact_ends, start, side="right"))
        is_free = following == len(fact_starts) or fact_starts[following] >= stop
        if is_free and start >= 0 and stop <= len(tokens):
            tokens[start:stop] = sentence
