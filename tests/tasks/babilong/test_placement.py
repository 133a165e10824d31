import numpy as np

from armt.tasks.babilong.placement import place_uniformly


def test_facts_keep_their_order_and_may_share_a_gap():
    slots = place_uniformly(3, 50, np.random.default_rng(0))
    assert len(slots) == 50
    assert (np.diff(slots) >= 0).all()
    assert set(slots.tolist()) == {0, 1, 2}


def test_gaps_are_equally_likely():
    rng = np.random.default_rng(1)
    counts = np.bincount(np.concatenate([place_uniformly(10, 8, rng) for _ in range(2000)]))
    assert len(counts) == 10
    assert ((counts - 1600) ** 2 / 1600).sum() < 27.9  # chi-square, 9 degrees, p = 0.001


def test_a_text_without_sentences_has_one_gap():
    assert place_uniformly(1, 3, np.random.default_rng(0)).tolist() == [0, 0, 0]
