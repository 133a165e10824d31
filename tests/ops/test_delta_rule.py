"""The delta rule: hand values, the published tables, and the loop as the truth of the solve."""

import pytest
import torch

from armt.ops.delta_rule import (
    EPSILON,
    Association,
    Normalization,
    Tokens,
    read_association,
    write_in_order,
    write_parallel,
    write_sequential,
)
from armt.ops.feature_maps import dpfp, unit_norm

KINDS = ["none", "sum", "gamma"]
WRITES = {"parallel": write_parallel, "loop": write_in_order, "sequential": write_sequential}
DOUBLE = torch.float64


def empty(num_features, num_channels, rows=1, heads=1):
    return Association(
        torch.zeros(rows, heads, num_features, num_channels, dtype=DOUBLE),
        torch.zeros(rows, heads, num_features, dtype=DOUBLE),
    )


def one_token(key, value, gate):
    return Tokens(
        torch.tensor(key, dtype=DOUBLE).view(1, 1, 1, -1),
        torch.tensor(value, dtype=DOUBLE).view(1, 1, 1, -1),
        torch.tensor(gate, dtype=DOUBLE).view(1, 1, 1, 1),
    )


def random_tokens(num_tokens, num_features, num_channels, heads=2, gates=1, rows=2, is_unit=True):
    keys = torch.rand(rows, heads, num_tokens, num_features, dtype=DOUBLE)
    return Tokens(
        unit_norm(keys) if is_unit else keys,
        torch.randn(rows, heads, num_tokens, num_channels, dtype=DOUBLE),
        torch.rand(rows, heads, num_tokens, gates, dtype=DOUBLE),
    )


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gate", [1.0, 0.3])
def test_one_key_by_hand(write, kind, gate):
    by, key = Normalization(kind), [0.6, 0.8, 0.0]
    query = torch.tensor(key, dtype=DOUBLE).view(1, 1, 1, 3)
    first, second = torch.tensor([2.0, -1.0], dtype=DOUBLE), torch.tensor([5.0, 3.0], dtype=DOUBLE)
    once = write(empty(3, 2), one_token(key, first.tolist(), gate), by)
    close = {"rtol": 0, "atol": 1e-4}  # the denominator's epsilon is one part in a hundred thousand
    torch.testing.assert_close(read_association(once, query, by).view(2), gate * first, **close)
    twice = write(once, one_token(key, second.tolist(), gate), by)
    held = {"none": 0.0, "gamma": 1.0, "sum": 2.0}[kind]
    torch.testing.assert_close(
        twice.key_sum.view(3), held * query.view(3), **(close if held else {"rtol": 0, "atol": 0})
    )
    expected = (1 - gate) * gate * first + gate * second
    if kind == "sum":  # erases what it reads, then divides by two keys
        expected = (gate * first + gate * (second - gate * first)) / 2
    torch.testing.assert_close(read_association(twice, query, by).view(2), expected, **close)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_association_reads_zero(kind):
    queries = torch.rand(2, 2, 5, 6, dtype=DOUBLE)
    found = read_association(empty(6, 3, 2, 2), queries, Normalization(kind))
    assert found.abs().sum() == 0


def rewrite_errors(kind, milestones=(16, 50, 200, 500, 2000)):
    """Relative errors of 16 orthonormal keys, each written once and then rewritten at random."""
    keys, rows = torch.eye(16, dtype=DOUBLE), 8
    order = torch.cat([torch.arange(16).expand(rows, -1), torch.randint(16, (rows, 1984))], dim=1)
    values = torch.randn(rows, milestones[-1], 128, dtype=DOUBLE)
    stored, start, errors = empty(16, 128, rows), 0, []
    for stop in milestones:
        tokens = Tokens(
            keys[order[:, start:stop]].unsqueeze(1),
            values[:, start:stop].unsqueeze(1),
            torch.ones(rows, 1, stop - start, 1, dtype=DOUBLE),
        )
        stored, start = write_sequential(stored, tokens, Normalization(kind)), stop
        queries = keys.expand(rows, 1, -1, -1)
        found = read_association(stored, queries, Normalization(kind))[:, 0]
        last = torch.stack(
            [(order[:, :stop] == k).long().cumsum(1).argmax(1) for k in range(16)], 1
        )
        wanted = values[torch.arange(rows).unsqueeze(1), last]
        errors.append(float(((found - wanted).norm(dim=2) / wanted.norm(dim=2)).mean()))
    return errors


def test_rewritten_orthonormal_keys_are_recalled_with_gamma_and_lost_without():
    assert max(rewrite_errors("none")) < 1e-12
    assert max(rewrite_errors("gamma")) < 1e-4
    first, *later = rewrite_errors("sum")
    assert first < 1e-4
    assert later == pytest.approx([0.571, 0.918, 0.976, 0.992], abs=0.06)
    assert later == sorted(later)


def literal_step(matrix, key_sum, tokens, index, kind, square_epsilon):
    """One token of one head, in Python loops from equations 1-3 and the published code."""
    key, value, gate = (part[index].tolist() for part in tokens)
    gate = gate * len(value) if len(gate) == 1 else gate
    dot = sum(k * z for k, z in zip(key, key_sum, strict=True)) + EPSILON
    length = sum(k * k for k in key) + square_epsilon
    old = [sum(k * row[c] for k, row in zip(key, matrix, strict=True)) for c in range(len(value))]
    share = 0.0
    if kind != "none":
        old = [v / dot for v in old]
        is_first = all(z == 0 for z in key_sum)
        share = 1.0 if kind == "sum" or is_first else min(max(1 - dot / length, 0.0), 1.0)
    change = [g * (v - o) for g, v, o in zip(gate, value, old, strict=True)]
    update = [[k * u for u in change] for k in key]
    return update, [share * k for k in key]


def literal_write(stored, tokens, by, *, is_parallel):
    matrices, sums = stored.matrix.clone(), stored.key_sum.clone()
    rows, heads, num_tokens = tokens.keys.shape[:3]
    for row in range(rows):
        for head in range(heads):
            mine = tuple(part[row, head] for part in tokens)
            start = matrices[row, head].tolist(), sums[row, head].tolist()
            for index in range(num_tokens):
                now = matrices[row, head].tolist(), sums[row, head].tolist()
                seen = start if is_parallel else now
                update, added = literal_step(*seen, mine, index, by.kind, by.square_epsilon)
                matrices[row, head] += torch.tensor(update, dtype=DOUBLE)
                sums[row, head] += torch.tensor(added, dtype=DOUBLE)
    return Association(matrices, sums)


@pytest.mark.parametrize("gates", [1, 3])
@pytest.mark.parametrize("is_unit", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRITES)
def test_writing_equals_the_literal_loops(name, kind, is_unit, gates):
    by = Normalization(kind, 0.0 if is_unit else EPSILON)
    found = expected = empty(5, 3, 2, 2)
    for _ in range(3):
        tokens = random_tokens(4, 5, 3, gates=gates, is_unit=is_unit)
        found = WRITES[name](found, tokens, by)
        expected = literal_write(expected, tokens, by, is_parallel=name == "parallel")
        torch.testing.assert_close(found.matrix, expected.matrix, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.key_sum, expected.key_sum, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gates", [1, 3])
@pytest.mark.parametrize("num_tokens", [1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_the_triangular_solve_equals_the_loop_with_gradients(kind, num_tokens, gates):
    by = Normalization(kind)
    tokens = random_tokens(num_tokens, 5, 3, gates=gates)
    start = write_parallel(empty(5, 3, 2, 2), random_tokens(3, 5, 3), by)
    results = []
    for write in (write_in_order, write_sequential):
        inputs = [part.clone().requires_grad_() for part in (*start, *tokens)]
        stored = write(Association(*inputs[:2]), Tokens(*inputs[2:]), by)
        weights = torch.linspace(-1, 1, stored.matrix.numel(), dtype=DOUBLE)
        loss = (stored.matrix.flatten() * weights).sum() + stored.key_sum.square().sum()
        results.append([*stored, *torch.autograd.grad(loss, inputs, allow_unused=kind == "none")])
    for found, expected in zip(*results, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def jacobian_radius(write):
    """Spectral radius of one segment of five equal keys with gates 0.9, as a map of the matrix."""
    key = torch.zeros(1, 1, 5, 3, dtype=DOUBLE)
    key[..., 0] = 1
    tokens = Tokens(
        key, torch.zeros(1, 1, 5, 1, dtype=DOUBLE), torch.full((1, 1, 5, 1), 0.9, dtype=DOUBLE)
    )

    def step(matrix):
        key_sum = torch.zeros(1, 1, 0, dtype=DOUBLE)
        return write(Association(matrix.view(1, 1, 3, 1), key_sum), tokens, Normalization())[0]

    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(3, dtype=DOUBLE)).view(3, 3)
    return torch.linalg.eigvals(jacobian).abs(), jacobian


def test_parallel_writes_of_equal_keys_overshoot():
    radii, _ = jacobian_radius(write_parallel)
    assert radii.max() == pytest.approx(3.5)


def test_sequential_writes_of_equal_keys_contract():
    radii, jacobian = jacobian_radius(write_sequential)
    assert radii.max() == pytest.approx(1.0)  # directions that no key touches stay
    assert jacobian[0, 0] == pytest.approx(0.1**5)


def test_sequential_writes_never_expand():
    for _ in range(20):
        tokens = random_tokens(6, 4, 1, heads=1, rows=1)
        tokens = tokens._replace(values=torch.zeros_like(tokens.values))
        start = torch.randn(1, 1, 4, 1, dtype=DOUBLE)
        stored = Association(start, torch.zeros(1, 1, 0, dtype=DOUBLE))
        assert write_sequential(stored, tokens, Normalization()).matrix.norm() < start.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("square_epsilon", [0.0, EPSILON])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_zero_keys_stay_finite_with_their_gradients(write, kind, square_epsilon, dtype):
    by = Normalization(kind, square_epsilon)
    stored = Association(*(part.to(dtype) for part in empty(12, 3)))
    for is_zero in (True, False, True):
        source = (
            torch.zeros(1, 1, 3, 2, dtype=dtype) if is_zero else torch.randn(1, 1, 3, 2).to(dtype)
        )
        source.requires_grad_()
        values = torch.randn(1, 1, 3, 3).to(dtype).requires_grad_()
        gates = torch.full((1, 1, 3, 1), 0.5, dtype=dtype, requires_grad=True)
        keys = unit_norm(dpfp(source, 3))
        after = write(stored, Tokens(keys, values, gates), by)
        found = read_association(after, keys, by)
        loss = after.matrix.square().sum() + after.key_sum.sum() + found.square().sum()
        for gradient in torch.autograd.grad(loss, [source, values, gates]):
            assert gradient.isfinite().all()
        assert found.isfinite().all()
        if is_zero:
            assert torch.equal(after.matrix, stored.matrix)
            assert torch.equal(after.key_sum, stored.key_sum)
        stored = Association(after.matrix.detach(), after.key_sum.detach())
    assert stored.matrix.abs().sum() > 0


def test_gamma_is_clipped_and_outside_the_gradient():
    by, key = Normalization("gamma"), torch.tensor([[0.6, 0.8]], dtype=DOUBLE, requires_grad=True)
    full = Association(
        torch.zeros(1, 1, 2, 1, dtype=DOUBLE), torch.full((1, 1, 2), 3.0, dtype=DOUBLE)
    )
    tokens = Tokens(key.view(1, 1, 1, 2), *(torch.ones(1, 1, 1, 1, dtype=DOUBLE),) * 2)
    after = write_parallel(full, tokens, by)
    assert torch.equal(after.key_sum, full.key_sum)
    half = Association(full.matrix, torch.tensor([[[0.5, 0.0]]], dtype=DOUBLE))
    added = write_parallel(half, tokens, by).key_sum - half.key_sum
    share = 1 - (0.3 + EPSILON)
    torch.testing.assert_close(added.view(2), share * key.detach().view(2))
    (gradient,) = torch.autograd.grad(added.sum(), key)
    torch.testing.assert_close(gradient, torch.full_like(gradient, share))
