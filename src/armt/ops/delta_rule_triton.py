"""Writing by the delta rule as two kernels for a GPU, where no gradient is asked for.

Without them a segment's write is a dozen small operations, each of which waits for the one before.
Here one kernel finds how the tokens of a row act on each other, and another changes the matrix,
which goes through memory once.
"""

# what Triton compiles has no types, and Triton need not be installed
# pyright: basic, reportMissingImports=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

_FEATURES: tl.constexpr = tl.constexpr(64)
"""Features that a kernel takes at once."""
_CHANNELS: tl.constexpr = tl.constexpr(32)
"""Channels that one program changes; of 16 to 128 the fastest on an H100."""
_LEAST_TOKENS = 16
"""The shortest side of a product of matrices in a kernel."""


@triton.jit
def _solve_kernel(keys, gates, out, num_features: tl.constexpr, NUM_TOKENS: tl.constexpr):
    """Finds for one row what each token changes for each token's surprise: (I + L)^-1 diag(b)."""
    row = tl.program_id(0).to(tl.int64)
    token = tl.arange(0, NUM_TOKENS)
    overlaps = tl.zeros([NUM_TOKENS, NUM_TOKENS], dtype=tl.float32)
    for first in range(0, num_features, _FEATURES):
        feature = first + tl.arange(0, _FEATURES)
        place = (row * NUM_TOKENS + token[:, None]) * num_features + feature[None, :]
        key = tl.load(keys + place, mask=(feature < num_features)[None, :], other=0.0)
        overlaps += tl.dot(key, tl.trans(key), None, "tf32x3")
    gate = tl.load(gates + row * NUM_TOKENS + token)
    lower = tl.where(token[:, None] > token[None, :], gate[:, None] * overlaps, 0.0)
    solved = tl.where(token[:, None] == token[None, :], gate[:, None], 0.0)
    for index in tl.static_range(NUM_TOKENS):  # what is final of one token goes off all later ones
        shares = tl.sum(tl.where(token[None, :] == index, lower, 0.0), axis=1)
        one = tl.sum(tl.where(token[:, None] == index, solved, 0.0), axis=0)
        solved -= shares[:, None] * one[None, :]
    tl.store(out + (row * NUM_TOKENS + token[:, None]) * NUM_TOKENS + token[None, :], solved)


@triton.jit
def _update_kernel(
    matrix, keys, values, solved, out, num_channels, num_features: tl.constexpr,
    NUM_TOKENS: tl.constexpr,
):  # fmt: skip
    """Adds to some channels of one row what its tokens change."""
    row = tl.program_id(0).to(tl.int64)
    token = tl.arange(0, NUM_TOKENS)
    channel = tl.program_id(1) * _CHANNELS + tl.arange(0, _CHANNELS)
    is_channel = (channel < num_channels)[None, :]
    keys += row * NUM_TOKENS * num_features
    matrix += row * num_features * num_channels
    out += row * num_features * num_channels
    old = tl.zeros([NUM_TOKENS, _CHANNELS], dtype=tl.float32)
    for first in range(0, num_features, _FEATURES):
        feature = first + tl.arange(0, _FEATURES)
        is_feature = feature < num_features
        place = feature[:, None] * num_channels + channel[None, :]
        held = tl.load(matrix + place, mask=is_feature[:, None] & is_channel, other=0.0)
        by_key = keys + token[:, None] * num_features + feature[None, :]
        old += tl.dot(tl.load(by_key, mask=is_feature[None, :], other=0.0), held, None, "ieee")
    given = (row * NUM_TOKENS + token[:, None]) * num_channels + channel[None, :]
    value = tl.load(values + given, mask=is_channel, other=0.0)
    share = tl.load(solved + (row * NUM_TOKENS + token[:, None]) * NUM_TOKENS + token[None, :])
    change = tl.dot(share, value - old, None, "ieee")
    for first in range(0, num_features, _FEATURES):
        feature = first + tl.arange(0, _FEATURES)
        is_feature = feature < num_features
        place = feature[:, None] * num_channels + channel[None, :]
        is_place = is_feature[:, None] & is_channel
        held = tl.load(matrix + place, mask=is_place, other=0.0)
        by_key = keys + token[None, :] * num_features + feature[:, None]
        key = tl.load(by_key, mask=is_feature[:, None], other=0.0)
        tl.store(out + place, held + tl.dot(key, change, None, "ieee"), mask=is_place)


def launch_write(matrix: Tensor, keys: Tensor, values: Tensor, gates: Tensor) -> Tensor:
    """Returns `matrix` after the write; the arguments are those of `fused.write`."""
    num_rows, (num_features, num_channels) = matrix.shape[:2].numel(), matrix.shape[2:]
    num_tokens = max(_LEAST_TOKENS, triton.next_power_of_2(keys.shape[2]))
    keys, values, gates = (_filled(part, num_tokens) for part in (keys, values, gates))
    solved = matrix.new_empty((num_rows, num_tokens, num_tokens))
    _solve_kernel[(num_rows,)](keys, gates, solved, num_features, num_tokens, num_warps=2)
    out = torch.empty_like(matrix, memory_format=torch.contiguous_format)
    _update_kernel[(num_rows, triton.cdiv(num_channels, _CHANNELS.value))](
        matrix.contiguous(), keys, values, solved, out, num_channels, num_features, num_tokens,
        num_warps=2, num_stages=3,
    )  # fmt: skip
    return out


def _filled(part: Tensor, num_tokens: int) -> Tensor:
    """Returns keys, values or gates with tokens of zeros behind, which write nothing."""
    num_missing = num_tokens - part.shape[2]
    filled = functional.pad(part, (0, 0, 0, num_missing)) if num_missing else part
    return filled.contiguous()
