"""Writing to an association matrix as one operation, with kernels on a GPU.

It is an operation of its own to torch, so that `vmap` and a trace take it as a whole. It has no
gradient: `dispatch.py` keeps to the plain form where one may be asked for.
"""

from typing import Any

import torch

from armt.core.shapes import Float, Tensor
from armt.ops.delta_rule import Association, Normalization, Tokens, write_sequential


@torch.library.custom_op(
    "armt::write_in_turn",
    mutates_args=(),
    device_types="cuda",
    schema="(Tensor matrix, Tensor keys, Tensor values, Tensor gates) -> Tensor",
)
def write(
    matrix: Float[Tensor, "B H F C"],
    keys: Float[Tensor, "B H M F"],
    values: Float[Tensor, "B H M C"],
    gates: Float[Tensor, "B H M 1"],
) -> Float[Tensor, "B H F C"]:
    """Returns `matrix` after all tokens have written, one after the other, without a normaliser."""
    from armt.ops.delta_rule_triton import launch_write

    return launch_write(matrix, keys, values, gates)


def _write_plainly(matrix: Tensor, keys: Tensor, values: Tensor, gates: Tensor) -> Tensor:
    stored = Association(matrix, matrix.new_zeros((*matrix.shape[:2], 0)))
    return write_sequential(stored, Tokens(keys, values, gates), Normalization()).matrix


@write.register_fake
def _write_shape(matrix: Tensor, keys: Tensor, values: Tensor, gates: Tensor) -> Tensor:
    del keys, values, gates
    return torch.empty_like(matrix, memory_format=torch.contiguous_format)


def _row_by_row(
    info: Any, in_dims: tuple[int | None, ...], *args: Tensor
) -> tuple[Float[Tensor, "N B H F C"], int]:
    """What `vmap` adds to the batch are more rows of the batch."""
    size = info.batch_size
    merged = [
        (value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)).flatten(0, 1)
        for value, dim in zip(args, in_dims, strict=True)
    ]
    return write(*merged).unflatten(0, (size, -1)), 0


_ = write.register_kernel("cpu")(_write_plainly)
_ = write.register_vmap(_row_by_row)
