"""Sentences that look like facts, cut by the borders of segments.

By chance a border cuts one fact in a hundred. Then half of it is read with one segment and half
with the next, and only the memory can put it together. From so few this is not learned, so
`draw_row_text` moves facts onto borders. But where only facts are cut, a segment that begins with a
place comes to mean a fact: so other sentences should be cut as well.
"""

import numpy as np

from armt.tasks.babilong.confusers import Confusers
from armt.tasks.babilong.row_text import BorderCuts, RowText


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
