"""One step in float64, by hand: where rows start, what is carried, what enters the loss."""

from dataclasses import dataclass

import pytest
import torch

from armt import ARMTConfig, NoMemoryConfig
from armt.core.shapes import Tensor
from armt.core.state import State
from armt.tasks.contract import Batch
from armt.training.step import EagerStepper, mean_change
from tiny import SEGMENT_LEN, assert_same_state, random_ids, recurrent

CARRY_LEN = 2 * SEGMENT_LEN
TAIL_LEN = SEGMENT_LEN + 2  # long enough to fill a segment, which must not be carried
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture
def model():
    return recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4))


def a_batch(resets=None, carry_len=CARRY_LEN, num_rows=3) -> Batch:
    ids = random_ids(num_rows, CARRY_LEN + TAIL_LEN, seed=8)
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < CARRY_LEN + 1, -100)
    return Batch(
        input_ids=ids,
        labels=labels,
        carry_len=carry_len,
        resets=None if resets is None else torch.tensor(resets),
        label_start=CARRY_LEN + 1,
    )


def state_before(model, num_rows=3):
    return model.read(random_ids(num_rows, 3 * SEGMENT_LEN, seed=9))


def gradients(model):
    found = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    return found


def test_rows_that_begin_anew_start_from_an_empty_memory_the_others_go_on(model):
    batch, old = a_batch([True, False, True]), state_before(model)
    step = EagerStepper(model, model, 0.0)
    result = step(batch, old.layers)
    rows = torch.tensor([True, False, True])
    mixed = tuple(
        new.where(rows, kept)
        for new, kept in zip(model.init_state(3).layers, old.layers, strict=True)
    )
    text = batch.input_ids[:, :CARRY_LEN]
    expected = model.read(text, model.init_state(3).with_layers(mixed))
    assert_same_state(model.init_state(3).with_layers(result.carried), expected_at_start(expected))
    for row, start in enumerate((model.init_state(1), None, model.init_state(1))):
        alone = model.read(text[row : row + 1], start or old.select_rows(torch.tensor([row])))
        for found, wanted in zip(result.carried, alone.layers, strict=True):
            torch.testing.assert_close(found.association[row : row + 1], wanted.association)


def expected_at_start(state):
    """The same layers at the beginning of a text."""
    fresh = torch.zeros_like(state.num_tokens)
    return type(state)(state.layers, state.pending, state.num_pending, fresh)


@pytest.mark.parametrize("resets", [None, [True, True, True]])
def test_without_anything_carried_all_rows_begin_anew(model, resets):
    step = EagerStepper(model, model, 0.0)
    fresh = step(a_batch(resets), None)
    ignored = step(a_batch(resets), state_before(model).layers)
    for found, expected in zip(ignored.carried, fresh.carried, strict=True):
        assert torch.equal(found.association, expected.association)
    assert ignored.loss == fresh.loss


def test_the_tail_is_thrown_away(model):
    batch = a_batch([True] * 3)
    result = EagerStepper(model, model, 0.0)(batch, None)
    expected = model.read(batch.input_ids[:, :CARRY_LEN])
    whole = model.read(batch.input_ids)
    for found, wanted, other in zip(result.carried, expected.layers, whole.layers, strict=True):
        assert torch.equal(found.association, wanted.association)
        assert not torch.equal(found.association, other.association)
        assert not found.association.requires_grad


def test_a_batch_that_is_not_carried_leaves_nothing(model):
    assert EagerStepper(model, model, 0.0)(a_batch(carry_len=0), None).carried is None


def test_loss_and_gradient_are_those_of_the_model(model):
    batch, old = a_batch([False] * 3), state_before(model)
    result = EagerStepper(model, model, 0.0)(batch, old.layers)
    found = gradients(model)
    output = model(batch.input_ids, labels=batch.labels, state=old.detach())
    output.loss.backward()
    torch.testing.assert_close(result.loss, output.loss.detach(), **CLOSE)
    assert (result.num_labels, result.num_correct) == (output.num_labels, output.num_correct)
    for name, value in gradients(model).items():
        torch.testing.assert_close(found[name], value, **CLOSE)


def test_the_write_penalty_enters_loss_and_gradient(model):
    batch, old = a_batch([False] * 3), state_before(model)
    plain = EagerStepper(model, model, 0.0)(batch, old.layers)
    without = gradients(model)
    penalised = EagerStepper(model, model, 0.5)(batch, old.layers)
    found = gradients(model)
    start = tuple(layer.detach() for layer in old.layers)
    after = model(batch.input_ids, state=old.detach(), carry_len=CARRY_LEN).state.layers
    change = mean_change(start, after)
    torch.testing.assert_close(penalised.loss, (plain.loss + 0.5 * change).detach(), **CLOSE)
    (0.5 * change).backward()
    gate = "memory.layers.0.to_gate.weight"
    expected = without[gate] + dict(model.named_parameters())[gate].grad
    assert not torch.allclose(without[gate], expected)
    # the lengths are measured in single precision
    torch.testing.assert_close(found[gate], expected, rtol=1e-5, atol=1e-7)


def test_without_a_state_there_is_nothing_to_penalise():
    model = recurrent(NoMemoryConfig())
    results = [EagerStepper(model, model, weight)(a_batch(), None) for weight in (0.0, 0.5)]
    assert results[0].loss == results[1].loss


@dataclass(frozen=True)
class Pair(State):
    """Two tensors and a counter."""

    first: Tensor
    second: Tensor
    count: Tensor


def pair(first, second):
    return Pair(torch.tensor(first), torch.tensor(second), torch.tensor([[1], [2]]))


def test_the_mean_change_by_hand():
    zero = pair([[[0.0, 0.0]], [[0.0, 0.0]]], [[0.0], [0.0]])
    # lengths 5 and 13 in the first layer, 0 and 2 in the second
    one = pair([[[3.0, 0.0]], [[3.0, 4.0]]], [[4.0], [12.0]])
    two = pair([[[0.0, 0.0]], [[0.0, 2.0]]], [[0.0], [0.0]])
    assert float(mean_change((zero, zero), (one, two))) == pytest.approx((5 + 13 + 0 + 2) / 4)
    assert float(mean_change((one,), (one,))) == pytest.approx(0, abs=1e-5)


def test_an_unmoved_memory_has_a_finite_gradient():
    zero = torch.zeros(2, 3, requires_grad=True)
    state = Pair(zero, zero, torch.zeros(2, 1, dtype=torch.long))
    mean_change((state.detach(),), (state,)).backward()
    assert torch.isfinite(zero.grad).all()
