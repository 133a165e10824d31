import math

import pytest
import torch

from armt.training.factual_recall.capacity import (
    GOAL,
    Associations,
    accuracy,
    closed_form_accuracy,
    draw_associations,
    find_capacity,
    growth,
    trained_matrix_accuracy,
    trained_mlp_accuracy,
)

RULES = ["hebbian", "delta", "ridge"]


def capacity(rule, width, seed=0):
    return find_capacity(
        lambda number: closed_form_accuracy(rule, draw_associations(number, width, seed)) >= GOAL,
        start=2,
    )


def test_associations_are_directions_and_come_back():
    first, again = draw_associations(20, 8, seed=1), draw_associations(20, 8, seed=1)
    assert torch.equal(first.keys, again.keys)
    assert not torch.equal(first.keys, first.outputs)
    assert not torch.equal(first.keys, draw_associations(20, 8, seed=2).keys)
    for part in first:
        torch.testing.assert_close(part.norm(dim=-1), torch.ones(20))


def test_accuracy_counts_the_rows_that_find_their_own():
    outputs = torch.eye(4)
    assert accuracy(outputs[[0, 1, 3, 2]], outputs) == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_few_associations_in_a_wide_matrix_are_all_recalled(rule):
    assert closed_form_accuracy(rule, draw_associations(16, 64, seed=0)) == 1


@pytest.mark.parametrize("rule", RULES)
def test_up_to_the_width_orthonormal_keys_are_exact(rule):
    keys = torch.linalg.qr(torch.randn(16, 16)).Q
    pairs = Associations(keys, draw_associations(16, 16, seed=0).outputs)
    assert closed_form_accuracy(rule, pairs) == 1


@pytest.mark.parametrize("rule", RULES)
def test_capacity_grows_with_the_width(rule):
    found = [capacity(rule, width) for width in (8, 24, 72)]
    assert 0 < found[0] < found[1] < found[2]


def test_training_holds_more_than_one_write():
    pairs = draw_associations(34, 12, seed=0)
    once = max(closed_form_accuracy(rule, pairs) for rule in ("hebbian", "delta"))
    assert once < 0.9
    assert trained_matrix_accuracy(pairs) >= GOAL


def test_a_matrix_holds_no_more_than_it_can():
    pairs = draw_associations(400, 12, seed=0)
    assert trained_matrix_accuracy(pairs, num_steps=64) < 0.9


def test_a_perceptron_holds_more_with_more_hidden_units():
    pairs = draw_associations(60, 10, seed=0)
    found = [trained_mlp_accuracy(pairs, number, 0, num_steps=512) for number in (2, 30)]
    assert found[0] < 0.5
    assert found[1] >= GOAL


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 100, 1000])
@pytest.mark.parametrize("start", [1, 2, 64])
def test_the_search_finds_the_limit(limit, start):
    found = find_capacity(lambda number: number <= limit, start)
    assert found <= limit
    assert limit - found <= max(1, 0.03 * found)
    assert find_capacity(lambda number: number <= limit, start, precision=0) == limit


def test_growth_is_the_exponent():
    sizes = [4.0, 16.0, 100.0]
    assert growth(sizes, [3 * size**0.9 for size in sizes]) == pytest.approx(0.9)
    assert growth(sizes, [math.sqrt(size) for size in sizes]) == pytest.approx(0.5)
