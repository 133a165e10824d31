"""Writing to an association matrix by two closed forms: Hebbian sums and ridge regression.

`matrix` maps a key to a value, read as `keys @ matrix`. A token is written with a weight; written
again with the weight's negative it is taken out. The third rule, which corrects what a key reads
now, is in `armt.ops.delta_rule`.
"""

from typing import NamedTuple

import torch

from armt.core.shapes import Float, Tensor


class WeightedPairs(NamedTuple):
    """What is written: M keys of width F with their values of width D, and a weight each."""

    keys: Float[Tensor, "*B M F"]
    values: Float[Tensor, "*B M D"]
    weights: Float[Tensor, "*B M 1"]


class RidgeAssociation(NamedTuple):
    """A matrix fitted to all pairs that were ever written, and what must be known to go on."""

    matrix: Float[Tensor, "*B F D"]

    gram: Float[Tensor, "*B F F"]
    """Weighted sum of the products of keys with themselves."""


def write_hebbian(matrix: Float[Tensor, "*B F D"], pairs: WeightedPairs) -> Float[Tensor, "*B F D"]:
    """Adds `weight * key value^T` for every pair; their order does not matter."""
    return matrix + pairs.keys.mT @ (pairs.weights * pairs.values)


def write_ridge(stored: RidgeAssociation, pairs: WeightedPairs, penalty: float) -> RidgeAssociation:
    """Makes the matrix the least-squares fit to the old and the new pairs together.

    It minimises `sum of weight * |value - key matrix|^2 + penalty * |matrix|^2` over all pairs ever
    written from an empty start; their order does not matter. With `G` the gram of all of them,

        matrix <- matrix + (G + penalty I)^-1 K^T w (V - K matrix)

    which is the recursive form of least squares: the delta rule, sharpened by what `G` knows of how
    keys overlap.
    """
    keys, values, weights = pairs
    gram = stored.gram + keys.mT @ (weights * keys)
    missing = weights * (values - keys @ stored.matrix)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # by Cholesky's factor, and not by `solve`, which asks the device whether it went well
    lower = torch.linalg.cholesky_ex(gram + penalty * identity).L
    halfway = torch.linalg.solve_triangular(lower, keys.mT @ missing, upper=False)
    change = torch.linalg.solve_triangular(lower.mT, halfway, upper=True)
    return RidgeAssociation(stored.matrix + change, gram)
