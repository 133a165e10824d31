import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armt.core.errors import ConfigError, DataError
from armt.tasks.babi.dice import Dice
from armt.tasks.babilong.layout import RunningText
from armt.tasks.babilong.placement import Placement, parse_placement
from armt.tasks.babilong.store import Span
from tasks.babilong.reference_mixer import slots_in_window
from tasks.babilong.tiny_store import made_up_store

NAMES = (
    "reference", "token_uniform", "window:0.2-0.7", "depth:0.5", "clustered:0.2", "first", "last",
)  # fmt: skip


def text_of(lens):
    """A running text of one book with sentences of these lengths."""
    store = made_up_store([lens])
    return RunningText(store, [Span(0, len(lens), sum(lens))])


@pytest.mark.parametrize("name", NAMES)
@given(lens=st.lists(st.integers(10, 60), min_size=20, max_size=60), seed=st.integers(0, 99))
def test_facts_keep_their_order_and_stand_at_gaps(name, lens, seed):
    placement = parse_placement(name)
    text = text_of(lens)
    gaps = placement.draw(text, [6] * 8, Dice(seed))
    assert len(gaps) == 8
    assert (np.diff(gaps) >= 0).all()
    assert 0 <= gaps[0] <= gaps[-1] <= len(lens)
    assert (gaps == placement.draw(text, [6] * 8, Dice(seed))).all()


@pytest.mark.parametrize("name", NAMES)
def test_facts_without_background_stand_alone(name):
    text = RunningText(made_up_store([[10]]), [])
    assert parse_placement(name).draw(text, [6, 7], Dice(0)).tolist() == [0, 0]


def test_the_reference_makes_all_gaps_equally_likely():
    text = text_of([10, 80, 10, 10, 200, 10, 10, 10, 10])
    counts = Counter(
        gap for seed in range(2000) for gap in Placement().draw(text, [5] * 8, Dice(seed)).tolist()
    )
    assert set(counts) == set(range(10))
    assert sum((count - 1600) ** 2 / 1600 for count in counts.values()) < 27.9  # p = 0.001


def test_token_uniform_counts_tokens():
    text = text_of([100, 10, 10, 100])
    placement = Placement(kind="token_uniform")
    counts = Counter(
        gap for seed in range(2000) for gap in placement.draw(text, [5] * 4, Dice(seed)).tolist()
    )
    expected = [50, 55, 10, 55, 50]  # half the sentence before a gap and half of that after it
    shares = [counts[gap] / 8000 for gap in range(5)]
    assert np.allclose(shares, np.asarray(expected) / 220, atol=0.02)


@given(
    lens=st.lists(st.integers(10, 90), min_size=1, max_size=30),
    start=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1 / 3]),
    width=st.sampled_from([0.1, 0.3, 0.5]),
    num_facts=st.integers(1, 6),
    seed=st.integers(0, 50),
)
def test_a_window_allows_the_gaps_of_the_reference(lens, start, width, num_facts, seed):
    placement = Placement(kind="window", start=start, end=start + width)
    facts = [[0] * 7] * num_facts
    sentences = [[1] * length for length in lens]
    size = sum(lens) + 7 * num_facts
    allowed = slots_in_window(sentences, facts, size, placement.start, placement.end)
    if not allowed:
        with pytest.raises(DataError, match="Widen the window"):
            _ = placement.draw(text_of(lens), [7] * num_facts, Dice(seed))
        return
    found = placement.draw(text_of(lens), [7] * num_facts, Dice(seed)).tolist()
    assert set(found) <= set(allowed)
    dice = Dice(seed)
    assert found == sorted(dice.pick(allowed) for _ in facts)


def test_a_window_bounds_the_sentences():
    placement = parse_placement("window:0.2-0.5")
    assert placement.max_sentence_len(1000) == math.floor(0.5 * (0.5 - 0.2) * 1000)
    assert Placement().max_sentence_len(1000) is None


@pytest.mark.parametrize(("depth", "gap"), [(0, 0), (0.5, 2), (0.26, 1), (1, 4)])
def test_a_depth_is_the_nearest_gap(depth, gap):
    placement = Placement(kind="depth", depth=depth)
    assert placement.draw(text_of([25] * 4), [5, 5], Dice(0)).tolist() == [gap, gap]


def test_the_ends_are_before_and_after_everything():
    text = text_of([25] * 4)
    assert parse_placement("first").draw(text, [5, 5], Dice(0)).tolist() == [0, 0]
    assert parse_placement("last").draw(text, [5, 5], Dice(0)).tolist() == [4, 4]


def test_a_cluster_is_short_and_stands_anywhere():
    text = text_of([10] * 1000)
    placement = parse_placement("clustered:0.1")
    drawn = [placement.draw(text, [5] * 10, Dice(seed)) for seed in range(300)]
    assert max(int(gaps[-1] - gaps[0]) for gaps in drawn) <= 101
    assert max(int(gaps[-1] - gaps[0]) for gaps in drawn) > 80
    first = [int(gaps[0]) for gaps in drawn]
    assert min(first) < 50
    assert max(first) > 850
    short = parse_placement("clustered:0.001").draw(text_of([90] * 3), [5, 5], Dice(0)).tolist()
    assert short[0] == short[1]


@pytest.mark.parametrize("name", [*NAMES, "clustered:0.05"])
def test_a_placement_is_written_and_read(name):
    placement = parse_placement(name)
    assert placement.name == name
    assert parse_placement(placement.name) == placement


@pytest.mark.parametrize(
    ("placement", "name"),
    [
        (Placement(kind="clustered", spread=0.00001), "clustered:0.00001"),
        (Placement(kind="depth", depth=0.123456789), "depth:0.123456789"),
        (Placement(kind="depth", depth=1), "depth:1"),
        (Placement(kind="depth", depth=-0.0), "depth:0"),
        (Placement(kind="window", start=1e-7, end=1.0), "window:0.0000001-1"),
    ],
)
def test_no_digit_of_a_placement_is_lost(placement, name):
    assert placement.name == name
    assert parse_placement(name) == placement


@given(share=st.floats(0, 1, exclude_min=True))
def test_every_share_is_written_and_read(share):
    for placement in (
        Placement(kind="clustered", spread=share),
        Placement(kind="depth", depth=share),
        Placement(kind="window", end=share),
    ):
        assert parse_placement(placement.name) == placement
    assert Placement.from_dict(placement.to_dict()) == placement


def test_other_ways_of_writing():
    assert parse_placement("clustered") == Placement(kind="clustered")
    assert parse_placement("token-uniform") == Placement(kind="token_uniform")
    assert parse_placement(" window: .25 - 1 ") == Placement(kind="window", start=0.25, end=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refrence", "Did you mean 'reference'"),
        ("depth", "Write a placement as"),
        ("depth:half", "Write a placement as"),
        ("depth:0.5-0.7", "Write a placement as"),
        ("window:0.5", "Write a placement as"),
        ("window:0.1-0.2-0.3", "Write a placement as"),
        ("first:1", "Write a placement as"),
        ("window:0.5-0.5", "0 <= start < end <= 1"),
        ("window:0.5-1.5", "0 <= start < end <= 1"),
        ("depth:1.5", r"`depth` must lie in \[0, 1\]"),
        ("clustered:0", "`spread` must lie in"),
    ],
)
def test_what_cannot_be_read_is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        _ = parse_placement(text)
