"""Feature maps of keys and queries."""

import torch

from armt.core.shapes import Float, Tensor


def dpfp(x: Float[Tensor, "... d"], nu: int) -> Float[Tensor, "... k"]:
    """Returns the deterministic parameter-free projection of `x`, of width `2 * nu * d`.

    With `u = (relu(x), relu(-x))` the features are `u_i * u_(i-j)` for `j = 1 .. nu`, the index
    taken modulo the width. They are non-negative and of degree two in the scale of `x`.

    Source: Schlag et al., arXiv:2102.11174, section 5.3.
    """
    halves = torch.cat([x.relu(), (-x).relu()], dim=-1)
    return torch.cat([halves * halves.roll(shift, dims=-1) for shift in range(1, nu + 1)], dim=-1)


def elu_plus_one(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Returns `elu(x) + 1`, entry by entry: always positive, and near `x + 1` above zero.

    Source: Katharopoulos et al., arXiv:2006.16236, equation 7.
    """
    return torch.nn.functional.elu(x) + 1


def unit_norm(x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Returns `x` scaled to length one; a vector of zeros stays zero and its gradient finite."""
    return torch.nn.functional.normalize(x, dim=-1, eps=1e-12)
