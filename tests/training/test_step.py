"""One step in float64, by hand: where rows start, what is carried, what enters the loss."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from armt import ARMTConfig, NoMemoryConfig
from armt.core.errors import DataError
from armt.core.shapes import Tensor
from armt.core.state import State
from armt.memories.associative import MLPAssociativeConfig
from armt.memories.mplus import MPlusConfig
from armt.tasks.contract import Batch
from armt.training.step import EagerStepper, mean_log_change
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


def test_past_a_batch_that_is_left_out_its_start_is_carried():
    model = recurrent(MLPAssociativeConfig(num_memory_tokens=1, d_mem=4, d_hidden=8))
    step, old = EagerStepper(model, model, 0.0), state_before(model).layers
    fresh = model.init_state(3).layers
    assert fresh[0].first.requires_grad, "the empty memory is learned"
    for carried, rows in ((old, [False, True, False]), (None, [True] * 3)):
        result = step(a_batch(rows), carried)
        past = step.carried_on(result, torch.tensor(False))
        assert step.carried_on(result, torch.tensor(True)) is result.carried
        for found, new, kept in zip(past, fresh, carried or fresh, strict=True):
            assert torch.equal(found.first, new.where(torch.tensor(rows), kept).first)
            assert not found.first.requires_grad
    nothing = step(a_batch(carry_len=0), None)
    assert step.carried_on(nothing, torch.tensor(False)) is None


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
    change = mean_log_change(start, after)
    torch.testing.assert_close(penalised.loss, (plain.loss + 0.5 * change).detach(), **CLOSE)
    (0.5 * change).backward()
    gate = "memory.layers.0.to_gate.weight"
    expected = without[gate] + dict(model.named_parameters())[gate].grad
    assert not torch.allclose(without[gate], expected)
    # the lengths are measured in single precision
    torch.testing.assert_close(found[gate], expected, rtol=1e-5, atol=1e-7)


def test_a_memorys_own_loss_enters_loss_and_gradient():
    model = recurrent(MPlusConfig(num_memory_tokens=1, num_slots=3, num_retrieved=2, d_retriever=3))
    batch, old = a_batch([False] * 3), state_before(model)
    plain = EagerStepper(model, model, 0.0)(batch, old.layers)
    without = gradients(model)
    taught = EagerStepper(model, model, 0.0, memory_loss=0.5)(batch, old.layers)
    found = gradients(model)
    layers = model(batch.input_ids, state=old, carry_len=CARRY_LEN).state.layers
    pairs = zip(model.memory.mechanisms, layers, strict=True)
    own = sum(memory.own_loss(layer) for memory, layer in pairs) / 2
    assert own > 0
    torch.testing.assert_close(taught.loss, (plain.loss + 0.5 * own).detach(), **CLOSE)
    (0.5 * own).backward()
    for name, parameter in model.named_parameters():
        wanted = without[name] if parameter.grad is None else without[name] + parameter.grad
        torch.testing.assert_close(found[name], wanted, **CLOSE, msg=name)


@pytest.mark.parametrize("quiet", [(True, False, True), (False, True, False)])
def test_the_write_penalty_counts_quiet_rows_only(model, quiet):
    batch = replace(a_batch([False] * 3), is_quiet=torch.tensor(quiet))
    old = state_before(model)
    plain = EagerStepper(model, model, 0.0)(batch, old.layers)
    without = gradients(model)
    penalised = EagerStepper(model, model, 0.5)(batch, old.layers)
    found = gradients(model)
    lengths = []
    for row in torch.tensor(quiet).nonzero()[:, 0]:
        start = old.detach().select_rows(row[None])
        after = model(batch.input_ids[row[None], :CARRY_LEN], state=start).state
        pairs = zip(start.layers, after.layers, strict=True)
        lengths += [(new.association - kept.association).norm().log1p() for kept, new in pairs]
    change = sum(lengths) / len(lengths)
    expected = (plain.loss + 0.5 * change).detach()
    torch.testing.assert_close(penalised.loss, expected, rtol=1e-6, atol=1e-8)
    (0.5 * change).backward()
    for name, parameter in model.named_parameters():
        wanted = without[name] if parameter.grad is None else without[name] + parameter.grad
        # the lengths are measured in single precision
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-7, msg=name)


def test_where_no_row_is_quiet_nothing_is_penalised(model):
    batch, old = a_batch([False] * 3), state_before(model)
    loud = replace(batch, is_quiet=torch.zeros(3, dtype=torch.bool))
    plain = EagerStepper(model, model, 0.0)(batch, old.layers)
    expected = gradients(model)
    found = EagerStepper(model, model, 0.5)(loud, old.layers)
    assert found.loss == plain.loss
    for name, gradient in gradients(model).items():
        assert torch.equal(gradient, expected[name]), name


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
    # lengths 5 and 13 in the first layer, 0 and 2 in the second: factors 6, 14, 1 and 3
    one = pair([[[3.0, 0.0]], [[3.0, 4.0]]], [[4.0], [12.0]])
    two = pair([[[0.0, 0.0]], [[0.0, 2.0]]], [[0.0], [0.0]])
    assert float(mean_log_change((zero, zero), (one, two))) == pytest.approx(
        math.log(6 * 14 * 3) / 4
    )
    assert float(mean_log_change((one,), (one,))) == pytest.approx(0, abs=1e-5)


def test_the_mean_change_of_some_rows_by_hand():
    zero = pair([[[0.0, 0.0]], [[0.0, 0.0]]], [[0.0], [0.0]])
    one = pair([[[3.0, 0.0]], [[3.0, 4.0]]], [[4.0], [12.0]])  # lengths 5 and 13
    first, both, none = (torch.tensor(rows) for rows in ((1, 0), (1, 1), (0, 0)))
    changes = [float(mean_log_change((zero,), (one,), rows.bool())) for rows in (first, both, none)]
    assert changes == pytest.approx([math.log(6), math.log(6 * 14) / 2, 0])


def a_question_batch(question_len, resets=None) -> Batch:
    """Three rows of two segments, and four questions of each that bear different numbers of labels.

    The first label of a question is never learned from: nothing stands before it.
    """
    ids = random_ids(3, CARRY_LEN, seed=8)
    questions = random_ids(12, question_len, seed=10).unflatten(0, (3, 4))
    generator = torch.Generator().manual_seed(11)
    is_labelled = torch.rand(questions.shape, generator=generator) < 0.7
    is_labelled &= torch.arange(question_len) > 0
    return Batch(
        input_ids=ids,
        labels=torch.full_like(ids, -100),
        question_ids=questions,
        question_labels=questions.masked_fill(~is_labelled, -100),
        resets=None if resets is None else torch.tensor(resets),
        carry_len=0 if resets is None else CARRY_LEN,
        label_start=1,
    )


def ask_by_hand(model, batch, old) -> Tensor:
    """Reads each row and asks it each question, one by one; returns the loss over all labels."""
    total, num_labels = torch.zeros(()), 0
    for row in range(3):
        start = old.detach().select_rows(torch.tensor([row]))
        if batch.resets is None or batch.resets[row]:
            start = model.init_state(1)
        for question, labels in zip(
            batch.question_ids[row], batch.question_labels[row], strict=True
        ):
            after = model(batch.input_ids[row : row + 1], state=start).state
            output = model(question[None], labels=labels[None], state=after)
            count = int(output.num_labels)
            total, num_labels = total + count * (output.loss if count else 0), num_labels + count
    return total / num_labels


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("question_len", [SEGMENT_LEN - 1, SEGMENT_LEN])
@pytest.mark.parametrize("resets", [None, (False, True, False)])
def test_questions_are_those_asked_one_by_one(question_len, resets, schedule):
    # gpt2, whose norms keep double precision: the same text is gone through in other orders
    model = recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4), "gpt2", schedule=schedule)
    batch, old = a_question_batch(question_len, resets), state_before(model)
    result = EagerStepper(model, model, 0.0)(batch, old.layers)
    found = gradients(model)
    loss = ask_by_hand(model, batch, old)
    loss.backward()
    torch.testing.assert_close(result.loss, loss.detach(), **CLOSE)
    assert int(result.num_labels) == int((batch.question_labels != -100).sum())
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(found[name], gradient, **CLOSE)
    assert (result.carried is None) == (resets is None)


def test_what_a_question_leaves_in_the_state_is_thrown_away(model):
    batch, old = a_question_batch(SEGMENT_LEN, [False] * 3), state_before(model)
    result = EagerStepper(model, model, 0.0)(batch, old.layers)
    expected = model.read(batch.input_ids, old)
    for found, wanted in zip(result.carried, expected.layers, strict=True):
        assert torch.equal(found.association, wanted.association)


def test_the_penalty_is_on_the_text_before_questions(model):
    batch, old = a_question_batch(SEGMENT_LEN, [False] * 3), state_before(model)
    losses = [EagerStepper(model, model, weight)(batch, old.layers).loss for weight in (0.0, 0.5)]
    start = tuple(layer.detach() for layer in old.layers)
    change = mean_log_change(start, model.read(batch.input_ids, old).layers)
    torch.testing.assert_close(losses[1], losses[0] + 0.5 * change, **CLOSE)


def test_a_text_before_questions_must_end_with_a_segment(model):
    batch = a_question_batch(SEGMENT_LEN)
    short = replace(batch, input_ids=batch.input_ids[:, :-1], labels=batch.labels[:, :-1])
    told = rf"segments of {SEGMENT_LEN} tokens that do not overlap. Got {CARRY_LEN - 1}"
    with pytest.raises(DataError, match=told):
        _ = EagerStepper(model, model, 0.0)(short, None)


def test_an_unmoved_memory_has_a_finite_gradient():
    zero = torch.zeros(2, 3, requires_grad=True)
    state = Pair(zero, zero, torch.zeros(2, 1, dtype=torch.long))
    mean_log_change((state.detach(),), (state,)).backward()
    assert torch.isfinite(zero.grad).all()
