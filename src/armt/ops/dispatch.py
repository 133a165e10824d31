"""Which form of an operation runs: the plain one, or kernels where they fit and save time.

Kernels run on a GPU of compute capability 8.0 or later where Triton is installed and no gradient is
asked for. They differ from the plain form in rounding only.
"""

from functools import cache
from importlib.util import find_spec

import torch

from armt.ops import fused
from armt.ops.delta_rule import (
    Association,
    Normalization,
    Tokens,
    WriteOrder,
    write_parallel,
    write_sequential,
)

_MAX_TOKENS = 16
"""Of one write; with more the kernels are slower than the plain form."""


def write_tokens(
    stored: Association, tokens: Tokens, by: Normalization, order: WriteOrder
) -> Association:
    """Writes tokens in the given order; never in the lower precision of autocast."""
    with torch.autocast(tokens.keys.device.type, enabled=False):
        if order == "parallel":
            return write_parallel(stored, tokens, by)
        if by.kind == "none" and _has_kernel(stored, tokens):
            return Association(fused.write(stored.matrix, *tokens), stored.key_sum)
        return write_sequential(stored, tokens, by)


def _has_kernel(stored: Association, tokens: Tokens) -> bool:
    parts = (stored.matrix, *tokens)
    return (
        all(part.is_cuda and part.dtype == torch.float32 for part in parts)
        and tokens.gates.shape[-1] == 1
        and tokens.keys.shape[-2] <= _MAX_TOKENS
        and not torch.is_grad_enabled()
        and can_run_kernels(stored.matrix.device)
    )


@cache
def can_run_kernels(device: torch.device) -> bool:
    """Whether kernels run on a GPU: it is new enough, and Triton is installed."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (8, 0)
