"""Halves of facts stand at borders, alone, and rows that hold a first one are not quiet."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from armt.core.errors import ConfigError
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES
from armt.tasks.babilong import FactStreamConfig
from armt.tasks.babilong.borders import confuse_borders
from armt.tasks.babilong.confusers import Confusers
from armt.tasks.babilong.row_text import BorderCuts, RowText
from armt.tasks.babilong.task_worlds import WalkingWorld
from tasks.babilong.streams import batches

SEGMENT_LEN = 100
CUTS = BorderCuts(1.0, SEGMENT_LEN)
NO_FACTS = (*np.zeros((2, 0), dtype=np.int64), *np.zeros((2, 1, 4)))
HALVED = {"confuser_border_share": 0.8, "half_fact_share": 1.0}


def fact_ids(encoder):
    forms = product(PEOPLE, MOVE_VERBS, PLACES)
    return [encoder.encode(f" {person} {verb} to the {place}.") for person, verb, place in forms]


@pytest.fixture(scope="module")
def confusers(store, encoder):
    return Confusers(store, encoder, [WalkingWorld()])


def test_half_a_fact_ends_at_its_border_or_begins_there(store, encoder, confusers):
    facts, kinds = fact_ids(encoder), Counter()
    before = store.tokens[: 120 * SEGMENT_LEN].copy()
    text = RowText(before.copy(), *NO_FACTS)
    half_ends = confuse_borders(text, np.random.default_rng(0), CUTS, confusers, half_share=1.0)
    for border in range(SEGMENT_LEN, len(before), SEGMENT_LEN):
        around = slice(border - SEGMENT_LEN // 2, border + SEGMENT_LEN // 2)
        changed = np.flatnonzero(text.tokens[around] != before[around]) - SEGMENT_LEN // 2
        if not len(changed):
            continue
        is_first = border in half_ends
        kinds[is_first] += 1
        assert (changed < 0).all() if is_first else (changed >= 0).all()
        size = int(np.abs(changed).max()) + (not is_first)
        place = slice(border - size, border) if is_first else slice(border, border + size)
        half = text.tokens[place].tolist()
        # what stood there may have been the half's own first or last token
        assert any(
            half == (fact[cut - size : cut] if is_first else fact[cut : cut + size])
            for fact in facts
            for cut in range(len(fact) + 1)
        )
    assert min(kinds[True], kinds[False]) > 40


def test_halves_are_as_many_as_asked_for(store, confusers):
    shares = {}
    for half_share in (0.0, 0.5):
        text = RowText(store.tokens[: 400 * SEGMENT_LEN].copy(), *NO_FACTS)
        rng = np.random.default_rng(1)
        shares[half_share] = len(confuse_borders(text, rng, CUTS, confusers, half_share)) / 399
    assert shares[0.0] == 0
    assert shares[0.5] == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("is_start", [True, False])
def test_half_a_fact_never_makes_a_whole_one(encoder, confusers, is_start):
    """Before every border stands what second halves lack, or after it what first ones do."""
    fact = encoder.encode(" Mary went to the garden.")
    cut = len(encoder.encode(" Mary"))
    half = fact[:cut] if is_start else fact[cut:]
    tokens = np.full(4000 * SEGMENT_LEN, encoder.encode(" the")[0])
    for border in range(SEGMENT_LEN, len(tokens), SEGMENT_LEN):
        start = border - cut if is_start else border
        tokens[start : start + len(half)] = half
    text = RowText(tokens.copy(), *NO_FACTS)
    _ = confuse_borders(text, np.random.default_rng(2), CUTS, confusers, half_share=1.0)
    assert (text.tokens != tokens).any()
    assert "Mary went to the garden" not in encoder.decode(text.tokens.tolist())


def test_a_row_with_a_first_half_is_not_quiet(store, encoder):
    facts = fact_ids(encoder)
    starts = {tuple(fact[:size]) for fact in facts for size in range(2, len(fact))}
    options = {
        "batch_size": 8, "segment_len": 32, "carry_len": 32, "tail_len": (20, 20),
        "gap_len": (100_000, 100_000), "epoch_steps": 30,
    }  # fmt: skip
    counts = Counter()
    for changes in ({}, HALVED):
        run = batches(store, encoder, {**options, **changes}, 60)
        for row in range(8):
            carried: list[int] = []
            for batch in run:
                carried = [] if batch.resets[row] else carried
                begin = len(carried)
                carried += batch.input_ids[row, :32].tolist()
                is_half = any(
                    tuple(carried[end - size : end]) in starts
                    for end in (begin, begin + 32)
                    for size in range(2, 19)
                )
                if begin and is_half:
                    assert not batch.is_quiet[row]
                    counts["halves"] += bool(changes)
                counts["quiet", bool(changes)] += bool(batch.is_quiet[row])
    assert counts["halves"] > 40
    assert 0 < counts["quiet", True] < counts["quiet", False] - 40


def test_halves_need_confused_borders():
    with pytest.raises(ConfigError, match=r"`half_fact_share` to 0. Got 0.5"):
        _ = FactStreamConfig(carry_len=128, half_fact_share=0.5)
    with pytest.raises(ConfigError, match=r"`half_fact_share` must lie in \[0, 1\]"):
        _ = FactStreamConfig(carry_len=128, confuser_border_share=0.5, half_fact_share=1.5)
