"""Functions of tensors: traced once for a form, then run as what was traced."""

import copy

import pytest
import torch
from torch import nn

from armt.backbones.compiled import Compiler, compile_traced
from compiling import only_trace


@pytest.fixture
def traced(monkeypatch):
    """What was traced so far; it runs as it is, and is not compiled."""
    return only_trace(monkeypatch)


class Counted:
    """A function that counts how often its Python runs."""

    def __init__(self):
        self.num_runs = 0

    def __call__(self, table, x):
        self.num_runs += 1
        return {"sum": table["a"] * x + table["b"], "parts": (x.sin(), [x.sum()])}


def arguments(num_rows=2, dtype=torch.float64):
    table = {name: torch.randn(num_rows, 3, dtype=dtype, requires_grad=True) for name in "ab"}
    return table, torch.randn(num_rows, 3, dtype=dtype, requires_grad=True)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_trees_go_in_and_come_out_and_gradients_reach_all(traced):
    function, (table, x) = Counted(), arguments()
    run = compile_traced(function, table, x)
    for _ in range(2):
        table, x = arguments()
        leaves = [table["a"], table["b"], x]
        results = []
        for each in (run, function):
            found = each(table, x)
            loss = found["sum"].square().sum() + found["parts"][0].sum() * found["parts"][1][0]
            results.append((found, torch.autograd.grad(loss, leaves)))
        assert_same(results[0][0], results[1][0])
        assert_same(results[0][1], results[1][1])
    assert len(traced) == 1
    assert function.num_runs == 1 + 2


def test_a_form_is_traced_once(traced):
    compiler, function = Compiler(), Counted()
    table, x = arguments()
    for _ in range(3):
        found = compiler.run(("f",), function, table, x)
        assert_same(found, Counted()(table, x))
        table, x = arguments()
    assert (len(traced), function.num_runs) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda key, table, x: (("g",), table, x),
        lambda key, table, x: (key, *arguments(num_rows=4)),
        lambda key, table, x: (key, *arguments(dtype=torch.float32)),
        lambda key, table, x: (key, table, x.detach()),
        lambda key, table, x: (key, table, x.detach().T.contiguous().T.requires_grad_()),
        lambda key, table, x: (key, table | {"c": x}, x),
        lambda key, table, x: (key, table | {"c": 2}, x),
    ],
    ids=["key", "shape", "dtype", "gradient", "strides", "structure", "constant"],
)
def test_another_form_is_traced_for_itself(traced, change):
    compiler, call = Compiler(), (("f",), *arguments())
    for key, *given in (call, change(*call), call, change(*call)):
        assert_same(compiler.run(key, Counted(), *given), Counted()(*given))
    assert len(traced) == 2


def test_with_and_without_gradients_are_two_forms(traced):
    compiler, (table, x) = Compiler(), arguments()
    for _ in range(2):
        with torch.no_grad():
            assert not compiler.run((), Counted(), table, x)["sum"].requires_grad
        assert compiler.run((), Counted(), table, x)["sum"].requires_grad
    assert len(traced) == 2


def test_the_run_that_is_traced_changes_nothing_it_is_given(traced):
    place = torch.zeros(3, dtype=torch.float64)
    run = compile_traced(lambda x: x.add_(1.0), place)
    assert place.tolist() == [0, 0, 0]
    _ = run(place)
    assert place.tolist() == [1, 1, 1]


def test_weights_that_are_no_argument_are_held_where_they_stand(traced):
    layer = nn.Linear(3, 2).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    run = compile_traced(layer, x)
    with torch.no_grad():
        layer.weight.mul_(2.0)
    assert_same(run(x), layer(x))


def test_a_look_at_values_is_taken_as_it_was_and_left_out(traced):
    def masked(x, mask):
        return x if bool(mask.all()) else x * mask

    x, mask = torch.randn(3), torch.tensor([True, False, True])
    run = compile_traced(masked, x, mask)
    assert_same(run(x, mask), x * mask)
    targets = {node.target for node in traced[0].graph.nodes}
    assert torch.ops.aten._local_scalar_dense.default not in targets


def with_cuts(x, weight):
    """A function that cuts gradients in every way there is."""
    with torch.no_grad():
        length = torch.zeros_like(x).add_(x * 2).mul_(weight)
        with torch.enable_grad():
            seen = (x * weight).cos()
    gate = x.clamp(0, 1).detach() + (x - x.detach())
    return (length * weight + seen).sum(-1), gate * weight, length


@pytest.mark.parametrize("function", [with_cuts, torch.func.vmap(with_cuts)])
def test_a_gradient_ends_where_the_function_ends_it(traced, function):
    x, weight = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    run = compile_traced(function, x, weight)
    found, expected = run(x, weight), function(x, weight)
    assert_same(found, expected)
    assert [each.requires_grad for each in found] == [True, True, False]
    gradients = [
        torch.autograd.grad(sum(each.square().sum() for each in outputs), (x, weight))
        for outputs in (found, expected)
    ]
    assert_same(*gradients)
    with torch.no_grad():
        assert_same(compile_traced(function, x, weight)(x, weight), expected)


def test_what_is_kept_is_made_once():
    compiler, made = Compiler(), []

    def make():
        made.append(len(made))
        return made[-1]

    assert [compiler.keep(("a",), make) for _ in range(3)] == [0, 0, 0]
    assert [compiler.keep(key, make) for key in (("b",), ("a",), ("b",))] == [1, 0, 1]


def test_a_copy_has_made_nothing_yet(traced):
    compiler, function = Compiler(), Counted()
    given = arguments()
    _ = compiler.run((), function, *given), compiler.keep((), lambda: 1)
    other = copy.deepcopy(compiler)
    _ = other.run((), function, *given)
    assert other.keep((), lambda: 2) == 2
    assert (len(traced), function.num_runs) == (2, 2)
    _ = compiler.run((), function, *given)
    assert compiler.keep((), lambda: 3) == 1
    assert len(traced) == 2
