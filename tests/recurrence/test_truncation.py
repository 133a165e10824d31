"""Where the gradient of a batch is cut: in each row from its own end, as if it stood alone."""

from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig
from tiny import (
    SEGMENT_LEN,
    assert_rows_have_gradients_of_their_own,
    assert_same_state,
    random_ids,
    recurrent,
)

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
OVERLAP_LEN = 1
BATCHES = ([16, 10], [26, 14, 18], [5, 29, 28, 1], [21, 33, 33])


def model_of(depth, schedule="sequential", overlap_len=0):
    model = recurrent(MEMORY, bptt_depth=depth, num_hidden_layers=3)
    model.recurrence = replace(model.recurrence, schedule=schedule, overlap_len=overlap_len)
    return model


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_rows_of_unequal_length_have_the_gradients_that_they_have_alone(depth, schedule, lengths):
    assert_rows_have_gradients_of_their_own(model_of(depth, schedule), lengths)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_overlapping_rows_have_the_gradients_that_they_have_alone(depth):
    model = model_of(depth, overlap_len=OVERLAP_LEN)
    assert_rows_have_gradients_of_their_own(model, [16, 10, 13, 3])


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("num_tokens", [13, 14, 16])
def test_an_overlap_that_waits_at_the_end_is_no_segment(depth, num_tokens):
    model, embedded = model_of(depth, overlap_len=OVERLAP_LEN), []
    _ = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: embedded.append(output) or output.retain_grad()
    )
    model(random_ids(1, num_tokens)).logits[:, -1].square().sum().backward()
    reached = [part.grad is not None and bool(part.grad.any()) for part in embedded]
    assert sum(reached) == depth + 1
    assert all(reached[-depth - 1 :])


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("logits_to_keep", [0, 1])
def test_the_state_after_a_row_is_cut_as_after_the_row_alone(depth, side, logits_to_keep):
    model, lengths, width = model_of(depth), [13, 7, 8], 13
    start = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def started(num_rows):
        state = model.init_state(num_rows)
        layers = tuple(layer.map(lambda value: value + start) for layer in state.layers)
        return state.with_layers(layers)

    ids, mask = torch.full((3, width), 2), torch.zeros(3, width, dtype=torch.long)
    rows = [random_ids(1, length, seed=length) for length in lengths]
    for row, length in enumerate(lengths):
        place = slice(width - length, width) if side == "left" else slice(length)
        ids[row, place], mask[row, place] = rows[row][0], 1
    options = {"logits_to_keep": logits_to_keep}
    together = model(ids, attention_mask=mask, state=started(3), **options).state
    for row, each in enumerate(rows):
        alone = model(each, state=started(1), **options).state
        own = together.select_rows(torch.tensor([row]))
        found, expected = (_gradients(model, start, state) for state in (own, alone))
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


def _gradients(model, start, state):
    total = sum(layer.association.square().sum() for layer in state.layers)
    wanted = [start, *model.memory.parameters()]
    if not total.requires_grad:
        return torch.zeros(1 + sum(each.numel() for each in wanted[1:]), dtype=torch.float64)
    found = torch.autograd.grad(total, wanted, allow_unused=True, retain_graph=True)
    pairs = zip(found, wanted, strict=True)
    return torch.cat(
        [(torch.zeros_like(each) if one is None else one).flatten() for one, each in pairs]
    )


def test_a_cut_changes_no_value():
    ids, mask = random_ids(2, 4 * SEGMENT_LEN), torch.ones(2, 4 * SEGMENT_LEN, dtype=torch.long)
    mask[1, 10:] = 0
    cut, uncut = (model_of(depth)(ids, attention_mask=mask) for depth in (1, None))
    torch.testing.assert_close(cut.logits, uncut.logits, rtol=0, atol=0)
    assert_same_state(cut.state, uncut.state)
