"""The text of one row of a training stream: background with facts, long enough for an epoch."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from armt.tasks.babi.world import NOWHERE, IntArray
from armt.tasks.babilong.walks import BackgroundWalk, Walk
from armt.tasks.babilong.world_table import Items, WorldTable
from armt.tasks.babilong.worlds import FloatArray
from armt.tasks.contract import Ids

BoolArray = npt.NDArray[np.bool_]

_LOG_SPREAD = math.log(4.0)
"""Distances within one text lie within this factor of its own scale."""

_EARLY_LEN = 256
"""The early facts of a text stand within so much background, or less if it is short."""

_QUESTION_SHARE = 0.5
"""Share of questions among the items of a dense text."""


class RowText(NamedTuple):
    """A text, where its facts stand, and what is known after each of them."""

    tokens: Ids
    fact_starts: IntArray
    fact_ends: IntArray
    known: IntArray
    """Answers of all questions after so many facts, (number of facts + 1, questions)."""

    sources: IntArray
    """What they follow from, as `Telling.sources`."""


class BorderCuts(NamedTuple):
    """What share of facts, or of borders, is to be chosen, and how far the borders are apart."""

    share: float
    segment_len: int


class DenseTexts(NamedTuple):
    """Texts with questions and their answers in them, one a row."""

    tokens: Ids
    is_answer: BoolArray


def draw_gaps(
    rng: np.random.Generator, gap_len: tuple[int, int], shape: tuple[int, int]
) -> IntArray:
    """Draws where items are due in texts, each with a density of its own.

    A text draws a scale s log-uniformly from `gap_len`, and each distance between neighbours
    log-uniformly from s/4 to 4s (but at least one token).

    Args:
        rng: source of chance.
        gap_len: least and greatest scale, in tokens.
        shape: number of texts and their length.

    Returns:
        Positions that rise along each row, (texts, enough for the densest); those at the length or
        beyond are of no use.
    """
    num_texts, text_len = shape
    low, high = np.log(gap_len)
    scale = np.exp(rng.uniform(low, high, (num_texts, 1)))
    # the mean distance is 1.35 scales: so many draws fall short of the text's end almost never
    num_draws = int(text_len / scale.min()) + 12
    spread = np.exp(rng.uniform(-_LOG_SPREAD, _LOG_SPREAD, (num_texts, num_draws)))
    return np.maximum(scale * spread, 1.0).cumsum(axis=1).astype(np.int64)


def draw_row_text(
    walk: Walk,
    table: WorldTable,
    rng: np.random.Generator,
    shape: tuple[int, int],
    gap_len: tuple[int, int],
    cuts: BorderCuts,
) -> RowText:
    """Draws the text of one epoch.

    Args:
        walk: where the background comes from.
        table: the encoded facts.
        rng: decides density, positions and story.
        shape: length of the text (the background alone is as long, so that no text falls short) and
            the length within which the first question should find its facts.
        gap_len: least and greatest scale of the distance between facts, in tokens.
        cuts: how many facts are moved onto a border of segments.
    """
    text_len, reach = shape
    background = walk.take(text_len)
    story = table.world.open(rng)
    room = reach - story.num_settled * table.max_fact_len
    early_len = max(1, min(_EARLY_LEN, reach // 2, room))
    early = rng.integers(early_len, size=story.num_early)
    gaps = draw_gaps(rng, gap_len, (1, text_len))[0]
    due = np.sort(np.concatenate([early, gaps[gaps < text_len]]))
    told = story.tell(len(due))
    items = table.items(told.facts)
    positions = _snap(background.gaps, due)
    if cuts.share:
        positions = _onto_borders(positions, items.lens, story.num_settled, rng, cuts)
        positions = np.minimum(positions, len(background.tokens))
    ends = positions + np.cumsum(items.lens)
    tokens = _insert(background.tokens, positions, items)[:text_len]
    return RowText(tokens, ends - items.lens, ends, told.known, told.sources)


def draw_dense_texts(
    walk: BackgroundWalk,
    table: WorldTable,
    rng: np.random.Generator,
    shape: tuple[int, int],
    gap_len: tuple[int, int],
) -> DenseTexts:
    """Draws texts with facts and answered questions all along.

    The first item of a text is a fact; each later one is a question that the facts answer, or a
    fact, with equal chances; a fact where there is no such question. Every text begins at another
    place of the background.

    Args:
        walk: where the background comes from.
        table: the encoded facts and questions.
        rng: decides density, positions, stories and questions.
        shape: number of texts and their length in tokens.
        gap_len: least and greatest scale of the distance between items, in tokens.
    """
    num_texts, text_len = shape
    parts = [walk.leap().take(text_len) for _ in range(num_texts)]
    starts = np.arange(num_texts)[:, None] * text_len
    # the gap after a text's last sentence is the next text's first: leave it out
    gaps = np.concatenate([part.gaps[:-1] for part in parts])
    gaps += np.repeat(starts[:, 0], [len(part.gaps) - 1 for part in parts])
    due = np.concatenate([np.zeros_like(starts), draw_gaps(rng, gap_len, shape)], axis=1)
    num_items = (due < text_len).sum(axis=1)
    due = due[:, : num_items.max()]
    is_used = due < text_len
    items = table.items(_draw_items(table, rng, num_items)[is_used])
    positions = _snap(gaps, (due + starts)[is_used])
    background = np.concatenate([part.tokens for part in parts])
    tokens = _insert(background, positions, items)
    silent = np.zeros(len(background), dtype=np.bool_)
    marks = np.insert(silent, np.repeat(positions, items.lens), items.is_answer)
    # a text is pushed right by what was put into those before it, and cut to its length
    pushed = np.append(0, np.cumsum(items.lens))[np.cumsum(num_items) - num_items]
    where = starts + pushed[:, None] + np.arange(text_len)
    return DenseTexts(tokens[where], marks[where])


def _draw_items(table: WorldTable, rng: np.random.Generator, num_items: IntArray) -> IntArray:
    """Draws the numbers of facts and questions, one story a row, as long as the longest."""
    asks = rng.random((len(num_items), num_items.max())) < _QUESTION_SHARE
    asks[:, 0] = False
    told = table.world.tell_many(rng, num_items)
    num_told = _settle(asks, told.known)
    facts = np.take_along_axis(told.facts, num_told - 1, axis=1)
    known = np.take_along_axis(told.known, num_told[..., None], axis=1)
    drawn = table.priorities(rng.random(known.shape))
    asked = order_known(known, drawn)[..., :1]
    answers = np.take_along_axis(known, asked, axis=-1)
    assert (answers[asks] >= 0).all(), "only what was told is asked"
    return np.where(asks, table.questions(asked, answers)[..., 0], facts)


def _settle(asks: BoolArray, known: IntArray) -> IntArray:
    """Makes facts of the questions without an answer.

    Args:
        asks: which items are questions, (texts, items); changed in place.
        known: the answers after so many facts, (texts, facts + 1, questions).

    Returns:
        Facts told up to each item, itself included, (texts, items).
    """
    has_answer = (known >= 0).any(axis=-1)
    while True:
        num_told = (~asks).cumsum(axis=1)
        is_open = asks & ~np.take_along_axis(has_answer, num_told, axis=1)
        if not is_open.any():
            return num_told
        asks &= ~is_open


def order_known(known: IntArray, priorities: FloatArray) -> IntArray:
    """Returns the questions by rising priority, those without answer last; (..., questions)."""
    return np.argsort(np.where(known == NOWHERE, np.inf, priorities), axis=-1)


def _snap(gaps: IntArray, due: IntArray) -> IntArray:
    """Returns the last sentence gap at or before each due position."""
    return gaps[np.searchsorted(gaps, due, side="right") - 1]


def _onto_borders(
    positions: IntArray,
    lens: IntArray,
    num_settled: int,
    rng: np.random.Generator,
    cuts: BorderCuts,
) -> IntArray:
    """Moves some of the items so that the nearest border of segments after the first cuts them.

    Where two would meet, the later one follows the earlier, uncut if it must be.

    Args:
        positions: where in the background the items are put in, rising.
        lens: tokens of each item, at least two.
        num_settled: how many of the first ones stay where they are.
        rng: decides which are moved, and where they are cut.
        cuts: how many, and where the borders are.
    """
    pushed = np.cumsum(lens) - lens
    is_moved = rng.random(len(positions)) < cuts.share
    is_moved[:num_settled] = False
    borders = np.maximum(np.round((positions + pushed) / cuts.segment_len), 1) * cuts.segment_len
    starts = borders.astype(np.int64) - rng.integers(1, lens)
    return np.maximum.accumulate(np.where(is_moved, starts - pushed, positions))


def _insert(background: Ids, positions: IntArray, items: Items) -> Ids:
    return np.insert(background, np.repeat(positions, items.lens), items.ids)
