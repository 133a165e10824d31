import math

import pytest

from armt.evaluation.metrics import Comparison, Score, chance, compare, wilson_interval


# Computed independently: roots of (p - share)^2 = z^2 p (1 - p) / n, as published in many tables.
@pytest.mark.parametrize(
    ("num_correct", "num_samples", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
        (99, 100, 0.9455, 0.9982),
        (1, 2, 0.0945, 0.9055),
    ],
)
def test_wilson_interval_against_known_values(num_correct, num_samples, low, high):
    found = wilson_interval(num_correct, num_samples)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_the_share_lies_in_its_interval():
    for num_samples in range(1, 2000):
        for num_correct in (0, 1, num_samples):
            found = wilson_interval(num_correct, num_samples)
            assert found.low <= num_correct / num_samples <= found.high


def test_the_ends_of_the_interval_solve_its_equation():
    z = 1.959963984540054
    for end in wilson_interval(37, 120):
        assert (37 / 120 - end) ** 2 == pytest.approx(z * z * end * (1 - end) / 120)


def test_without_a_sample_nothing_is_known():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert math.isnan(Score(0, 0).accuracy)
    assert math.isnan(chance([]))


def test_more_right_answers_than_samples_is_a_mistake():
    with pytest.raises(AssertionError, match="3 of 2"):
        _ = wilson_interval(3, 2)


def test_chance_is_the_share_of_the_most_frequent_answer():
    assert chance(["garden", "kitchen", "garden", "office"]) == 0.5


# Computed by scipy.stats.binomtest.
@pytest.mark.parametrize(
    ("num_first", "num_second", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (0, 6, 0.03125),
        (8, 2, 0.109375),
        (5, 5, 1.0),
        (10, 20, 0.098737146705389),
        (1200, 1000, 2.1817026407914194e-05),
    ],
)
def test_the_exact_test_of_mcnemar_against_known_values(num_first, num_second, p_value):
    found = Comparison(7, num_first, num_second, 3).p_value
    assert found == pytest.approx(p_value, rel=1e-5)


def test_answers_are_compared_question_by_question():
    first = [True, True, False, False, True]
    second = [True, False, True, False, False]
    assert compare(first, second) == Comparison(1, 2, 1, 1)
    with pytest.raises(AssertionError, match="cannot pair"):
        _ = compare(first, second[:-1])
