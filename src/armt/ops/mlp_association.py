"""A two-layer perceptron as an associative memory, written by gradient steps.

`F(key) = relu(key first) second`. A write moves both layers against the gradient of
`|value - F(key)|^2 / 2`, spelled out here, so that it can itself be differentiated.
"""

from typing import NamedTuple

from armt.core.shapes import Float, Tensor
from armt.ops.linear_association import WeightedPairs

_TINY = 1e-12


class MLPAssociation(NamedTuple):
    """The weights: keys of width F to values of width D over W hidden units."""

    first: Float[Tensor, "*B F W"]
    second: Float[Tensor, "*B W D"]


def read_mlp(stored: MLPAssociation, keys: Float[Tensor, "*B T F"]) -> Float[Tensor, "*B T D"]:
    """Returns `F(key)` for every key."""
    return (keys @ stored.first).relu() @ stored.second


def write_mlp(stored: MLPAssociation, pairs: WeightedPairs) -> MLPAssociation:
    """Takes one gradient step for each pair, one after the other.

    The step is the pair's weight divided by the sum of squares of the gradient of `F`, which bounds
    the curvature of the loss: to first order the error of a key of length one then never grows for
    weights in (0, 2). While `second` is zero, a weight of one stores the value exactly.
    """
    for index in range(pairs.keys.shape[-2]):
        one = WeightedPairs(*(part[..., index : index + 1, :] for part in pairs))
        stored = _write_one(stored, one)
    return stored


def _write_one(stored: MLPAssociation, pair: WeightedPairs) -> MLPAssociation:
    before = pair.keys @ stored.first
    hidden, is_active = before.relu(), (before > 0).to(before.dtype)
    error = pair.values - hidden @ stored.second
    back = is_active * (error @ stored.second.mT)
    squares = stored.second.square().sum(-1).unsqueeze(-2)
    curvature = (hidden.square() + is_active * squares).sum(-1, keepdim=True)
    rate = pair.weights / (curvature + _TINY)
    return MLPAssociation(
        first=stored.first + pair.keys.mT @ (rate * back),
        second=stored.second + hidden.mT @ (rate * error),
    )
