"""How many associations a store holds: keys and outputs are random, one output for each key.

Source: Nichani, Lee, Bietti, arXiv:2412.06538, section 3. A store of N associations has capacity N
if it answers at least 99 % of its keys with the output that is theirs, the one whose inner product
with what was read is greatest. The paper's theory: a matrix of width d holds N with `d^2` of the
order `N log N`, a perceptron of m hidden units with `m d` of that order.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from armt.core.shapes import Float, Tensor
from armt.ops.delta_rule import Association, Normalization, Tokens, write_sequential
from armt.ops.feature_maps import unit_norm
from armt.ops.linear_association import (
    RidgeAssociation,
    WeightedPairs,
    write_hebbian,
    write_ridge,
)
from armt.ops.mlp_association import MLPAssociation, read_mlp

GOAL = 0.99
"""Share of keys that must be answered rightly."""

_CHECK_EVERY = 64
_RIDGE_PENALTY = 1e-3


class Associations(NamedTuple):
    """Key i belongs to output i; all have length one."""

    keys: Float[Tensor, "N d"]
    outputs: Float[Tensor, "N d"]


def draw_associations(num_pairs: int, width: int, seed: int) -> Associations:
    """Returns random directions, the same for the same arguments."""
    chance = torch.Generator().manual_seed(seed)
    drawn = unit_norm(torch.randn(2, num_pairs, width, generator=chance))
    return Associations(drawn[0], drawn[1])


def accuracy(found: Float[Tensor, "N d"], outputs: Float[Tensor, "N d"]) -> float:
    """Returns the share of rows whose own output is the nearest to what they found."""
    nearest = (found @ outputs.T).argmax(-1)
    return float((nearest == torch.arange(len(outputs))).float().mean())


@torch.no_grad()
def closed_form_accuracy(rule: str, pairs: Associations) -> float:
    """Returns the accuracy of a matrix written once by the rule `hebbian`, `delta` or `ridge`."""
    weights = torch.ones_like(pairs.keys[:, :1])
    weighted = WeightedPairs(pairs.keys, pairs.outputs, weights)
    return accuracy(pairs.keys @ _CLOSED_FORMS[rule](weighted), pairs.outputs)


def trained_matrix_accuracy(
    pairs: Associations, *, num_steps: int = 1024, learning_rate: float = 30.0
) -> float:
    """Returns the best accuracy of a matrix that Adam trains on cross-entropy.

    The learning rate is large because vectors of length one need a large matrix before the softmax
    is sure of anything.
    """
    width = pairs.keys.shape[1]
    matrix = torch.zeros(width, width, requires_grad=True)
    return _train([matrix], lambda: pairs.keys @ matrix, pairs, num_steps, learning_rate)


def trained_mlp_accuracy(
    pairs: Associations,
    num_hidden: int,
    seed: int,
    *,
    num_starts: int = 2,
    num_steps: int = 1024,
    learning_rate: float = 0.2,
) -> float:
    """Returns the best accuracy of a perceptron that Adam trains on cross-entropy.

    It begins anew from `num_starts` places at most, since one of them may be unlucky.
    """
    width, best = pairs.keys.shape[1], 0.0
    for start in range(num_starts):
        chance = torch.Generator().manual_seed(num_starts * seed + start)
        first = torch.randn(width, num_hidden, generator=chance).requires_grad_()
        second = torch.randn(num_hidden, width, generator=chance) / math.sqrt(num_hidden)
        store = MLPAssociation(first, second.requires_grad_())
        read = partial(read_mlp, store, pairs.keys)
        best = max(best, _train(list(store), read, pairs, num_steps, learning_rate))
        if best >= GOAL:
            break
    return best


def find_capacity(holds: Callable[[int], bool], start: int, precision: float = 0.03) -> int:
    """Returns the greatest number for which `holds` is true, to the given share of it.

    It goes on doubling from `start` for as long as the number is held, so that nothing but the
    store limits the result, then halves the distance to the first that is not. Returns 0 if not
    even one is held.
    """
    low, high = 0, start
    while holds(high):
        low, high = high, 2 * high
    while high - low > max(1.0, precision * low):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def growth(sizes: Sequence[float], capacities: Sequence[float]) -> float:
    """Returns the exponent with which capacity grows with size: the slope over logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(capacities), 1)[0])


def _delta(pairs: WeightedPairs) -> Float[Tensor, "d d"]:
    tokens = Tokens(*(part[None, None] for part in pairs))
    empty = Association(_empty(pairs)[None, None], pairs.keys.new_zeros(1, 1, 0))
    return write_sequential(empty, tokens, Normalization()).matrix[0, 0]


def _ridge(pairs: WeightedPairs) -> Float[Tensor, "d d"]:
    empty = RidgeAssociation(_empty(pairs), _empty(pairs))
    return write_ridge(empty, pairs, _RIDGE_PENALTY).matrix


def _hebbian(pairs: WeightedPairs) -> Float[Tensor, "d d"]:
    return write_hebbian(_empty(pairs), pairs)


def _empty(pairs: WeightedPairs) -> Float[Tensor, "d d"]:
    width = pairs.keys.shape[1]
    return pairs.keys.new_zeros(width, width)


_CLOSED_FORMS = {"hebbian": _hebbian, "delta": _delta, "ridge": _ridge}


def _train(
    weights: list[Tensor],
    read: Callable[[], Tensor],
    pairs: Associations,
    num_steps: int,
    learning_rate: float,
) -> float:
    """Trains until the goal is reached, with a learning rate that falls to zero."""
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, num_steps)
    own, best = torch.arange(len(pairs.keys)), 0.0
    for step in range(num_steps + 1):
        found = read()
        if step % _CHECK_EVERY == 0:
            best = max(best, accuracy(found.detach(), pairs.outputs))
        if best >= GOAL or step == num_steps:
            break
        optimizer.zero_grad()
        _ = cross_entropy(found @ pairs.outputs.T, own).backward()
        _ = optimizer.step()
        decay.step()
    return best
