"""Writing as one operation: equal to the plain form, also under vmap; on a GPU by kernels."""

import pytest
import torch

from armt.ops import dispatch, fused
from armt.ops.delta_rule import Association, Normalization, Tokens, write_in_order
from armt.ops.feature_maps import dpfp, unit_norm

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SINGLE = {"rtol": 1e-5, "atol": 1e-5}
SHAPES = [(2, 1, 16, 96, 64), (3, 2, 5, 18, 20), (1, 4, 17, 48, 100)]
"""Rows, heads, tokens, features and channels."""


def parts(rows, heads, num_tokens, num_features, num_channels, device="cpu"):
    """A matrix and tokens to be written, two of which have one key."""
    raw = torch.randn(rows, heads, num_tokens, num_features // 2, dtype=torch.float32)
    raw[:, :, 1] = raw[:, :, 0]
    made = (
        torch.randn(rows, heads, num_features, num_channels, dtype=torch.float32),
        unit_norm(dpfp(raw, 1)),
        torch.randn(rows, heads, num_tokens, num_channels, dtype=torch.float32),
        torch.rand(rows, heads, num_tokens, 1, dtype=torch.float32),
    )
    return tuple(part.to(device) for part in made)


def plain(matrix, keys, values, gates):
    stored = Association(matrix, matrix.new_zeros((*matrix.shape[:2], 0)))
    return write_in_order(stored, Tokens(keys, values, gates), Normalization()).matrix


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_operation_equals_the_plain_form(shape, device):
    given = parts(*shape, device=device)
    torch.testing.assert_close(fused.write(*given), plain(*given), **SINGLE)
    turned = (given[0].mT.contiguous().mT, *given[1:])
    torch.testing.assert_close(fused.write(*turned), plain(*given), **SINGLE)


@pytest.mark.parametrize("device", DEVICES)
def test_vmap_makes_rows_of_what_it_maps_over(device):
    matrix, keys, values, gates = parts(6, 2, 5, 18, 20, device=device)
    stacked = [part.unflatten(0, (3, 2)) for part in (matrix, keys, values)]
    stacked[1] = stacked[1].movedim(0, 2)
    mapped = torch.vmap(fused.write, in_dims=(0, 2, 0, None))
    expected = plain(matrix, keys, values, gates[:2].repeat(3, 1, 1, 1))
    found = mapped(*stacked, gates[:2])
    torch.testing.assert_close(found.flatten(0, 1), expected, **SINGLE)


def test_a_trace_takes_it_as_a_whole():
    given = parts(*SHAPES[0])
    traced = torch.fx.experimental.proxy_tensor.make_fx(torch.vmap(fused.write))(
        *(part.unsqueeze(0) for part in given)
    )
    names = [str(node.target) for node in traced.graph.nodes]
    assert any("write_in_turn" in name for name in names)
    assert not any("triangular" in name for name in names)


@pytest.mark.gpu
def test_a_gpu_writes_by_kernels_unless_a_gradient_is_asked_for(monkeypatch):
    matrix, *tokens = parts(*SHAPES[0], device="cuda")
    calls = []
    monkeypatch.setattr(fused, "write", lambda *given: calls.append(given) or given[0])
    stored = Association(matrix, matrix.new_zeros((2, 1, 0)))
    for is_asked in (False, True):
        with torch.set_grad_enabled(is_asked):
            _ = dispatch.write_tokens(stored, Tokens(*tokens), Normalization(), "sequential")
    with torch.no_grad():
        _ = dispatch.write_tokens(stored, Tokens(*tokens), Normalization(), "parallel")
    assert len(calls) == 1
