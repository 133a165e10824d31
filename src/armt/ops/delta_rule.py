"""Reading from an association matrix and writing to it by the delta rule.

`matrix` maps the features of a key to a value. `key_sum` is the running sum of keys by which a read
may be divided (Rodkin et al., arXiv:2407.04841, equations 1-4); without a normaliser it is unused
and has no columns. A token writes its value `v` under its key `k` with a gate `b`:

    matrix <- matrix + b k (v - what `k` reads now)

In *parallel* order all tokens of a segment read the matrix as it was before the segment; tokens
whose keys agree then add up and over-shoot. In *sequential* order each reads what its forerunners
left, which for gates in (0, 1) and unit keys is a contraction.
"""

from typing import Literal, NamedTuple

import torch

from armt.core.shapes import Float, Tensor

Normalizer = Literal["none", "sum", "gamma"]
WriteOrder = Literal["sequential", "parallel"]

EPSILON = 1e-5
"""Added to the denominator of a read, as in the published code."""


class Normalization(NamedTuple):
    """How a read is divided by the keys that are stored."""

    kind: Normalizer = "none"
    """`none`: not at all. `sum`: by the sum of all keys.

    `gamma`: by the sum of what was new of each.
    """

    square_epsilon: float = 0.0
    """Added to the squared length of a key in gamma, as the first published code did."""


class Association(NamedTuple):
    """What is stored: keys of width F to values of width C, for H heads."""

    matrix: Float[Tensor, "B H F C"]
    key_sum: Float[Tensor, "B H Z"]
    """Z is F with a normaliser and 0 without."""


class Tokens(NamedTuple):
    """What is written: M tokens with a key, a value and a gate each."""

    keys: Float[Tensor, "B H M F"]
    values: Float[Tensor, "B H M C"]
    gates: Float[Tensor, "B H M G"]
    """G is 1 for one gate a token, or C for one gate a channel."""


def split_heads(x: Float[Tensor, "B T d"], num_heads: int) -> Float[Tensor, "B H T h"]:
    """Returns the width of `x` parted among heads, which come before the positions."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def empty_association(
    shape: tuple[int, int, int, int], kind: Normalizer, like: Tensor
) -> Association:
    """Returns an association of shape `B H F C` that holds nothing.

    It stands on the device of `like` and is at least of single precision.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    num_summed = 0 if kind == "none" else shape[2]
    return Association(
        matrix=like.new_zeros(shape, dtype=dtype),
        key_sum=like.new_zeros((*shape[:2], num_summed), dtype=dtype),
    )


def read_association(
    stored: Association, queries: Float[Tensor, "B H T F"], by: Normalization
) -> Float[Tensor, "B H T C"]:
    """Returns what `queries` read. An empty association reads zero."""
    found = queries @ stored.matrix
    if by.kind == "none":
        return found
    return found / _denominator(stored.key_sum, queries)


def write_parallel(stored: Association, tokens: Tokens, by: Normalization) -> Association:
    """Writes all tokens against the association as it was (the published form)."""
    old = read_association(stored, tokens.keys, by)
    change = tokens.gates * (tokens.values - old)
    matrix = stored.matrix + tokens.keys.mT @ change
    if by.kind == "none":
        return Association(matrix, stored.key_sum)
    shares = _new_shares(stored.key_sum, tokens.keys, by)
    return Association(matrix, stored.key_sum + (shares.unsqueeze(-1) * tokens.keys).sum(-2))


def write_in_order(stored: Association, tokens: Tokens, by: Normalization) -> Association:
    """Writes the tokens one after the other: the plain loop that `write_sequential` must equal."""
    for index in range(tokens.keys.shape[-2]):
        one = Tokens(*(part[..., index : index + 1, :] for part in tokens))
        stored = write_parallel(stored, one, by)
    return stored


def write_sequential(stored: Association, tokens: Tokens, by: Normalization) -> Association:
    """Writes the tokens one after the other, in one triangular solve.

    The changes `u_i = b_i (v_i - (matrix^T k_i + sum_(j<i) (k_i . k_j) u_j) / d_i)` solve
    `(I + tril(diag(b / d) K K^T, -1)) U = diag(b) (V - (K matrix) / d)`; then the matrix grows by
    `K^T U`. `d` is the denominator of the read and 1 without a normaliser. Gates per channel make
    one system a channel and are written by the loop.
    """
    keys, values, gates = tokens
    if gates.shape[-1] != 1:
        return write_in_order(stored, tokens, by)
    overlaps = keys @ keys.mT
    scaled_gates, key_sum = gates, stored.key_sum
    old = keys @ stored.matrix
    if by.kind != "none":
        denominators, key_sum = _running_denominators(stored.key_sum, keys, overlaps, by)
        scaled_gates, old = gates / denominators, old / denominators
    lower = torch.tril(scaled_gates * overlaps, diagonal=-1)
    change = torch.linalg.solve_triangular(
        lower, gates * (values - old), upper=False, unitriangular=True
    )
    return Association(stored.matrix + keys.mT @ change, key_sum)


def _denominator(
    key_sum: Float[Tensor, "B H F"], keys: Float[Tensor, "B H T F"]
) -> Float[Tensor, "B H T 1"]:
    return keys @ key_sum.unsqueeze(-1) + EPSILON


def _new_shares(
    key_sum: Float[Tensor, "B H F"], keys: Float[Tensor, "B H M F"], by: Normalization
) -> Float[Tensor, "B H M"]:
    """The share of each key that `key_sum` does not hold yet: gamma, equation 3 of the paper.

    Clipped to [0, 1] and kept out of the gradient, as in the published code. Before the first write
    it is one. A key of zeros adds nothing whatever its share, so its 0/0 is guarded only.
    """
    if by.kind == "sum":
        return torch.ones_like(keys[..., 0])
    squares = keys.square().sum(-1) + by.square_epsilon
    return _clipped_share(_denominator(key_sum, keys).squeeze(-1), squares, _is_empty(key_sum))


def _clipped_share(
    denominators: Float[Tensor, "*shape"],
    squares: Float[Tensor, "*shape"],
    is_empty: Tensor,
) -> Float[Tensor, "*shape"]:
    held = denominators / squares.clamp_min(torch.finfo(squares.dtype).tiny)
    return torch.where(is_empty, torch.ones_like(held), (1 - held).clamp(0, 1)).detach()


def _is_empty(key_sum: Float[Tensor, "B H F"]) -> Tensor:
    return (key_sum == 0).all(-1, keepdim=True)


def _running_denominators(
    key_sum: Float[Tensor, "B H F"],
    keys: Float[Tensor, "B H M F"],
    overlaps: Float[Tensor, "B H M M"],
    by: Normalization,
) -> tuple[Float[Tensor, "B H M 1"], Float[Tensor, "B H F"]]:
    """Returns each token's denominator after its forerunners' keys, and the key sum at the end.

    Each token's gamma hangs on those before it, so these go one by one.
    """
    if by.kind == "sum":
        earlier = overlaps.tril(-1).sum(-1, keepdim=True)
        return _denominator(key_sum, keys) + earlier, key_sum + keys.sum(-2)
    squares = overlaps.diagonal(dim1=-2, dim2=-1) + by.square_epsilon
    running = _denominator(key_sum, keys).squeeze(-1)
    is_empty = _is_empty(key_sum).squeeze(-1)
    denominators: list[Tensor] = []
    shares: list[Tensor] = []
    for index in range(keys.shape[-2]):
        denominator = running[..., index]
        share = _clipped_share(denominator, squares[..., index], is_empty)
        denominators.append(denominator)
        shares.append(share)
        running = running + share.unsqueeze(-1) * overlaps[..., index]
        is_empty = is_empty & (keys[..., index, :] == 0).all(-1)
    total = key_sum + (torch.stack(shares, -1).unsqueeze(-1) * keys).sum(-2)
    return torch.stack(denominators, -1).unsqueeze(-1), total
