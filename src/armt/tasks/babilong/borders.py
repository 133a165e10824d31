"""Sentences that look like facts, cut by the borders of segments.

By chance a border cuts one fact in a hundred. Then half of it is read with one segment and half
with the next, and only the memory can put it together. From so few this is not learned, so
`draw_row_text` moves facts onto borders. But where only facts are cut, half a fact comes to mean a
fact: a segment that begins with a place is written, and one that ends in "John went", as segments
of novels now and then do, costs what was known of John. So other sentences should be cut as well,
and half a fact should sometimes be all there is.
"""

import numpy as np

from armt.tasks.babi.world import IntArray
from armt.tasks.babilong.confusers import Confusers
from armt.tasks.babilong.row_text import BorderCuts, RowText
from armt.tasks.contract import Ids

_REACH = 32
"""Tokens on either side within which half a fact could become a whole one."""


def confuse_borders(
    text: RowText,
    rng: np.random.Generator,
    cuts: BorderCuts,
    confusers: Confusers,
    half_share: float = 0.0,
) -> IntArray:
    """Writes what looks like a fact over some borders: a sentence, cut near a name, or half a fact.

    Half a fact ends at its border, or begins there, and no other half follows or precedes.

    Args:
        text: its tokens are changed in place, but none of a fact.
        rng: decides borders, sentences and where they are cut.
        cuts: how many of the borders, and where they are.
        confusers: where the sentences come from.
        half_share: at how many of these borders half a fact stands.

    Returns:
        The borders at which the first half of a fact ends.
    """
    borders = np.arange(cuts.segment_len, len(text.tokens), cuts.segment_len)
    half_ends: list[int] = []
    for border in borders[rng.random(len(borders)) < cuts.share].tolist():
        if half_share and rng.random() < half_share:
            half, is_first = confusers.draw_half(rng)
            start = border - len(half) if is_first else border
            if _put(text, start, half, confusers) and is_first:
                half_ends.append(border)
            continue
        sentence, cut = confusers.draw_cut(rng)
        _ = _put(text, border - cut, sentence)
    return np.asarray(half_ends, dtype=np.int64)


def _put(text: RowText, start: int, ids: Ids, confusers: Confusers | None = None) -> bool:
    """Writes over the text, unless a fact stands there or, given confusers, would then; says so."""
    tokens, fact_starts = text.tokens, text.fact_starts
    stop = start + len(ids)
    following = int(np.searchsorted(text.fact_ends, start, side="right"))
    is_free = following == len(fact_starts) or fact_starts[following] >= stop
    if not (is_free and start >= 0 and stop <= len(tokens)):
        return False
    before = tokens[start:stop].copy()
    tokens[start:stop] = ids
    around = tokens[max(0, start - _REACH) : stop + _REACH]
    if confusers is not None and confusers.holds_fact(around):
        tokens[start:stop] = before
        return False
    return True
