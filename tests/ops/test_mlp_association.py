"""The perceptron's write against autograd, and that it stores."""

import pytest
import torch

from armt.ops.feature_maps import unit_norm
from armt.ops.linear_association import WeightedPairs
from armt.ops.mlp_association import MLPAssociation, read_mlp, write_mlp

DOUBLE = torch.float64
WIDTH, NUM_HIDDEN, NUM_CHANNELS = 6, 40, 5


def random_store(*, is_empty=False):
    second = torch.randn(NUM_HIDDEN, NUM_CHANNELS, dtype=DOUBLE)
    return MLPAssociation(
        (2 / NUM_HIDDEN) ** 0.5 * torch.randn(WIDTH, NUM_HIDDEN, dtype=DOUBLE),
        torch.zeros_like(second) if is_empty else second,
    )


def random_pairs(num_pairs, weight=1.0):
    return WeightedPairs(
        unit_norm(torch.randn(num_pairs, WIDTH, dtype=DOUBLE)),
        torch.randn(num_pairs, NUM_CHANNELS, dtype=DOUBLE),
        torch.full((num_pairs, 1), weight, dtype=DOUBLE),
    )


def test_a_write_is_a_gradient_step_of_the_size_that_is_told():
    store, pair = random_store(), random_pairs(1, weight=0.7)
    weights = [weight.requires_grad_() for weight in store]
    loss = (pair.values - read_mlp(store, pair.keys)).square().sum() / 2
    gradients = torch.autograd.grad(loss, weights)
    jacobian = torch.autograd.functional.jacobian(
        lambda *weights: read_mlp(MLPAssociation(*weights), pair.keys)[0], tuple(weights)
    )
    hidden = (pair.keys @ store.first).relu()
    first_squares = jacobian[0].square().sum()
    rate = 0.7 / (hidden.square().sum() + first_squares)
    for after, weight, gradient in zip(write_mlp(store, pair), weights, gradients, strict=True):
        torch.testing.assert_close(after, weight - rate * gradient)


def test_into_an_empty_second_layer_one_write_is_exact():
    store, pair = random_store(is_empty=True), random_pairs(1)
    torch.testing.assert_close(read_mlp(write_mlp(store, pair), pair.keys), pair.values)


def test_pairs_write_one_after_the_other():
    store, pairs = random_store(), random_pairs(5, weight=0.5)
    expected = store
    for index in range(5):
        one = WeightedPairs(*(part[index : index + 1] for part in pairs))
        expected = write_mlp(expected, one)
    for found, wanted in zip(write_mlp(store, pairs), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_writing_again_and_again_stores_many_pairs(weight):
    store, pairs, errors = random_store(is_empty=True), random_pairs(12, weight), []
    for _ in range(200):
        store = write_mlp(store, pairs)
        errors.append(float((read_mlp(store, pairs.keys) - pairs.values).norm()))
    assert errors[0] > 1
    assert errors[-1] < 0.05 * errors[0]


def test_rows_are_independent():
    stores = [random_store() for _ in range(3)]
    pairs = [random_pairs(4) for _ in range(3)]
    together = write_mlp(
        MLPAssociation(*(torch.stack(parts) for parts in zip(*stores, strict=True))),
        WeightedPairs(*(torch.stack(parts) for parts in zip(*pairs, strict=True))),
    )
    for row, (store, own) in enumerate(zip(stores, pairs, strict=True)):
        for found, wanted in zip(together, write_mlp(store, own), strict=True):
            torch.testing.assert_close(found[row], wanted)


def test_a_silent_perceptron_stays_finite():
    store = MLPAssociation(
        torch.zeros(WIDTH, NUM_HIDDEN, dtype=DOUBLE),
        torch.zeros(NUM_HIDDEN, NUM_CHANNELS, dtype=DOUBLE),
    )
    after = write_mlp(store, random_pairs(3))
    assert all(weight.isfinite().all() and weight.abs().sum() == 0 for weight in after)
