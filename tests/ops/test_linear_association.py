"""Hebbian sums and ridge regression: what they store, and that it can be taken out again."""

import pytest
import torch

from armt.ops.delta_rule import Association, Normalization, Tokens, write_sequential
from armt.ops.linear_association import (
    RidgeAssociation,
    WeightedPairs,
    write_hebbian,
    write_ridge,
)

DOUBLE = torch.float64
WIDTH, NUM_CHANNELS = 8, 9


def random_pairs(num_pairs, *, is_orthonormal=False, weight=1.0):
    keys = torch.randn(num_pairs, WIDTH, dtype=DOUBLE)
    if is_orthonormal:
        keys = torch.linalg.qr(torch.randn(WIDTH, WIDTH, dtype=DOUBLE)).Q[:num_pairs]
    values = torch.randn(num_pairs, NUM_CHANNELS, dtype=DOUBLE)
    return WeightedPairs(keys, values, torch.full((num_pairs, 1), weight, dtype=DOUBLE))


def negated(pairs):
    return pairs._replace(weights=-pairs.weights)


def some(pairs, places):
    return WeightedPairs(*(part[places] for part in pairs))


def empty_matrix():
    return torch.zeros(WIDTH, NUM_CHANNELS, dtype=DOUBLE)


def empty_ridge():
    return RidgeAssociation(empty_matrix(), torch.zeros(WIDTH, WIDTH, dtype=DOUBLE))


def delta(pairs):
    tokens = Tokens(*(part[None, None] for part in pairs))
    start = Association(empty_matrix()[None, None], torch.zeros(1, 1, 0, dtype=DOUBLE))
    return write_sequential(start, tokens, Normalization()).matrix[0, 0]


@pytest.mark.parametrize("num_pairs", [1, 5, WIDTH])
def test_orthonormal_keys_are_stored_exactly(num_pairs):
    pairs = random_pairs(num_pairs, is_orthonormal=True)
    matrix = write_hebbian(empty_matrix(), pairs)
    torch.testing.assert_close(pairs.keys @ matrix, pairs.values)
    assert int(torch.linalg.matrix_rank(matrix)) == num_pairs


def test_hebbian_by_hand():
    pairs = WeightedPairs(
        torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=DOUBLE),
        torch.tensor([[3.0], [5.0]], dtype=DOUBLE),
        torch.tensor([[1.0], [0.5]], dtype=DOUBLE),
    )
    found = write_hebbian(torch.zeros(2, 1, dtype=DOUBLE), pairs)
    assert found.tolist() == [[3.0], [8.5]]


def test_the_order_of_hebbian_and_ridge_writes_does_not_matter():
    pairs, order = random_pairs(12, weight=0.7), torch.randperm(12)
    hebbian, ridge = [], []
    for places in (torch.arange(12), order):
        first, second = some(pairs, places[:5]), some(pairs, places[5:])
        hebbian.append(write_hebbian(write_hebbian(empty_matrix(), first), second))
        ridge.append(write_ridge(write_ridge(empty_ridge(), first, 0.1), second, 0.1))
    torch.testing.assert_close(*hebbian)
    torch.testing.assert_close(ridge[0].matrix, ridge[1].matrix)
    torch.testing.assert_close(ridge[0].gram, ridge[1].gram)


def test_what_was_written_can_be_taken_out():
    old, new = random_pairs(6), random_pairs(4, weight=0.6)
    matrix = write_hebbian(empty_matrix(), old)
    torch.testing.assert_close(write_hebbian(write_hebbian(matrix, new), negated(new)), matrix)
    stored = write_ridge(empty_ridge(), old, 0.1)
    again = write_ridge(write_ridge(stored, new, 0.1), negated(new), 0.1)
    torch.testing.assert_close(again.matrix, stored.matrix)
    torch.testing.assert_close(again.gram, stored.gram)


def test_all_rules_agree_on_orthonormal_keys():
    pairs = random_pairs(WIDTH, is_orthonormal=True)
    hebbian = write_hebbian(empty_matrix(), pairs)
    torch.testing.assert_close(delta(pairs), hebbian)
    ridge = write_ridge(empty_ridge(), pairs, 1e-9).matrix
    torch.testing.assert_close(ridge, hebbian, rtol=1e-6, atol=1e-6)


def test_the_delta_rule_replaces_where_hebbian_adds():
    (first, second) = random_pairs(1, is_orthonormal=True), random_pairs(1)
    again = WeightedPairs(*(torch.cat(each) for each in zip(first, second, strict=True)))
    again = again._replace(keys=first.keys.expand(2, -1))
    torch.testing.assert_close(first.keys @ delta(again), second.values)
    found = first.keys @ write_hebbian(empty_matrix(), again)
    torch.testing.assert_close(found, first.values + second.values)


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_ridge_is_the_least_squares_fit_to_everything(weight):
    pairs, stored = random_pairs(30, weight=weight), empty_ridge()
    for start in range(0, 30, 7):
        stored = write_ridge(stored, some(pairs, slice(start, start + 7)), 0.3)
    keys, values = pairs.keys, pairs.values
    gram = weight * keys.T @ keys + 0.3 * torch.eye(WIDTH, dtype=DOUBLE)
    expected = torch.linalg.inv(gram) @ (weight * keys.T @ values)
    torch.testing.assert_close(stored.matrix, expected)


def test_ridge_recalls_independent_keys_where_hebbian_blurs():
    pairs = random_pairs(WIDTH)
    ridge = pairs.keys @ write_ridge(empty_ridge(), pairs, 1e-10).matrix
    hebbian = pairs.keys @ write_hebbian(empty_matrix(), pairs)
    torch.testing.assert_close(ridge, pairs.values, rtol=1e-4, atol=1e-4)
    assert (hebbian - pairs.values).norm() > pairs.values.norm()


def test_reading_is_linear_in_the_matrix():
    first, second = random_pairs(3), random_pairs(4)
    both = write_hebbian(write_hebbian(empty_matrix(), first), second)
    queries = torch.randn(6, WIDTH, dtype=DOUBLE)
    parts = [queries @ write_hebbian(empty_matrix(), each) for each in (first, second)]
    torch.testing.assert_close(queries @ both, sum(parts))
