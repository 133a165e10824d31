"""The laws that every registered memory obeys, in float64 over a tiny backbone.

Weights are random, those that start at zero too, and each law shows first that it could fail: that
the memory matters for what is compared.
"""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from armt import attach
from armt.core.errors import ConfigError
from armt.core.registry import MEMORIES
from armt.recurrence.choose_schedule import wave_obstacle
from armt.recurrence.state_file import load_state, save_state
from laws.doors import read_through, write_through
from tiny import (
    SEGMENT_LEN,
    assert_rows_have_gradients_of_their_own,
    assert_same_state,
    backbone,
    isolated_logits,
    random_ids,
    state_tensors,
)

CLOSE = {"rtol": 1e-9, "atol": 1e-11}
NUM_TOKENS = 3 * SEGMENT_LEN + 1


def changed_at(ids, place):
    changed = ids.clone()
    changed[:, place] = (changed[:, place] + 1) % 20 + 3
    return changed


def test_every_memory_has_a_tiny_config():
    assert {"armt", "none"} <= {card.name for card in MEMORIES}
    assert all(card.tiny is not None for card in MEMORIES)


def test_law_0_a_memory_matters(subject, model):
    ids = random_ids(1, NUM_TOKENS)
    moved = (model(changed_at(ids, 0)).logits - model(ids).logits).abs().amax((0, 2))
    assert (moved[SEGMENT_LEN:].min() > 1e-6) == subject.has_state


def test_law_1_a_fresh_memory_leaves_the_backbone_as_it_is(subject):
    ids, base = random_ids(2, NUM_TOKENS), backbone()
    model = attach(backbone(), subject.config, SEGMENT_LEN)
    if not all(memory.is_neutral_when_fresh for memory in model.memory.mechanisms):
        assert not torch.allclose(model(ids).logits, isolated_logits(base, ids))
        return
    expected = isolated_logits(base, ids)
    if model.memory.num_tokens:
        tokens = model.memory.tokens.detach().expand(2, -1, -1)
        embed = base.get_input_embeddings()
        parts = [torch.cat([embed(part), tokens], 1) for part in ids.split(SEGMENT_LEN, 1)[:-1]]
        exact = torch.cat([base(inputs_embeds=part).logits[:, :SEGMENT_LEN] for part in parts], 1)
        torch.testing.assert_close(exact, expected[:, :-1], rtol=1e-12, atol=1e-13)
        expected = torch.cat([exact, expected[:, -1:]], 1)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)


@torch.no_grad()
def test_law_2_reading_and_writing_are_pure(subject, model):
    memory = model.memory.mechanisms[0]
    state = write_through(memory, memory.init_state(2), seed=4)
    before = state.map(torch.clone), copy.deepcopy(memory.__dict__)
    results = [
        (write_through(memory, state, seed=5), read_through(memory, state)) for _ in range(2)
    ]
    for name, value in state.tensors().items():
        assert torch.equal(value, before[0].tensors()[name])
        assert torch.equal(results[0][0].tensors()[name], results[1][0].tensors()[name])
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))
    assert str(memory.__dict__) == str(before[1])
    if subject.has_state:
        assert any(
            not torch.equal(value, state.tensors()[name])
            for name, value in results[0][0].tensors().items()
        )


def test_law_2_a_pass_leaves_nothing_on_the_model(subject, model):
    ids, state = random_ids(2, NUM_TOKENS), model.read(random_ids(2, 7, seed=5))
    before = {name: value.clone() for name, value in state_tensors(state).items()}
    weights = copy.deepcopy(model.state_dict())
    first, second = model(ids, state=state), model(ids, state=state)
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=0)
    assert_same_state(first.state, second.state)
    assert all(torch.equal(value, before[name]) for name, value in state_tensors(state).items())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    hosts = model.anatomy.layers if model.memory.is_layer_local else ()
    assert all(layer.__dict__["_port"].state is None for layer in hosts)
    assert not {"_noted"} & vars(model.anatomy.decoder).keys()
    assert not model.anatomy.decoder._forward_hooks


def test_law_3_rows_do_not_see_each_other(model):
    ids, start = random_ids(3, NUM_TOKENS), model.read(random_ids(3, 6, seed=5))
    together = model(ids, state=start)
    for row in range(3):
        alone = model(ids[row : row + 1], state=start.select_rows(torch.tensor([row])))
        torch.testing.assert_close(together.logits[row : row + 1], alone.logits, **CLOSE)
        found = together.state.select_rows(torch.tensor([row]))
        assert_same_state(found, alone.state, **CLOSE)


def test_law_3_rows_of_a_batch_get_no_gradient_from_each_other(subject, model):
    embedded = []
    _ = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: embedded.append(output) or output.retain_grad()
    )
    model(random_ids(2, 2 * SEGMENT_LEN)).logits[0, SEGMENT_LEN:].square().sum().backward()
    first = embedded[0].grad
    assert (first is not None and first[0].abs().sum() > 0) == subject.carries_gradients
    assert all(part.grad is None or part.grad[1].abs().sum() == 0 for part in embedded)


def test_law_4_bounded_means_bounded(model):
    state = model.read(random_ids(1, SEGMENT_LEN))
    size = state.nbytes
    for seed in range(12):
        state = model.read(random_ids(1, SEGMENT_LEN, seed), state)
        is_bounded = all(memory.is_bounded for memory in model.memory.mechanisms)
        assert (state.nbytes == size) == is_bounded
    assert state.pending.shape[1] == 0


@pytest.mark.parametrize("num_read", [0, 2, SEGMENT_LEN, 2 * SEGMENT_LEN + 3])
def test_law_5_saved_loaded_and_continued_is_bit_equal(model, num_read, tmp_path):
    ids = random_ids(2, NUM_TOKENS)
    state = model.read(random_ids(2, num_read, seed=5), model.init_state(2))
    save_state(tmp_path / "state.safetensors", state, model)
    loaded = load_state(tmp_path / "state.safetensors", model)
    assert_same_state(loaded, state)
    expected, found = model(ids, state=state), model(ids, state=loaded)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
    assert_same_state(found.state, expected.state)


@pytest.mark.parametrize("depth", [0, 1, 2, None])
@pytest.mark.parametrize("num_tokens", [5 * SEGMENT_LEN, 4 * SEGMENT_LEN + 2])
def test_law_6_truncation_cuts_at_the_depth_asked(subject, depth, num_tokens):
    model, embedded = subject.model(bptt_depth=depth), []
    _ = model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: embedded.append(output) or output.retain_grad()
    )
    model(random_ids(1, num_tokens)).logits[:, 4 * SEGMENT_LEN :].square().sum().backward()
    reached = [part.grad is not None and float(part.grad.abs().sum()) > 0 for part in embedded]
    reach = 0 if not subject.carries_gradients else 4 if depth is None else depth
    assert reached == [segment >= 4 - reach for segment in range(5)]


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("depth", [1, 2])
def test_law_6_each_row_is_cut_from_its_own_end(subject, depth, schedule):
    model = subject.model(bptt_depth=depth)
    if schedule == "waves" and wave_obstacle(model) is not None:
        return
    model.recurrence = replace(model.recurrence, schedule=schedule)
    assert_rows_have_gradients_of_their_own(model, [16, 10, 3, 13])


def test_law_6_truncation_changes_no_value(subject):
    ids = random_ids(1, NUM_TOKENS)
    outputs = [subject.model(bptt_depth=depth)(ids) for depth in (0, 1, None)]
    for output in outputs[1:]:
        torch.testing.assert_close(output.logits, outputs[0].logits, rtol=0, atol=0)
        assert_same_state(output.state, outputs[0].state)


@pytest.mark.parametrize("num_tokens", [SEGMENT_LEN, NUM_TOKENS, 6 * SEGMENT_LEN + 2])
def test_law_7_waves_are_the_loop_in_another_order(subject, num_tokens):
    loop = subject.model(schedule="sequential", num_hidden_layers=3)
    if (obstacle := wave_obstacle(loop)) is not None:
        with pytest.raises(ConfigError, match=obstacle):
            _ = subject.model(schedule="waves", num_hidden_layers=3)
        return
    waves = subject.model(schedule="waves", num_hidden_layers=3)
    ids = random_ids(2, num_tokens)
    outputs = [model(ids, labels=ids, logits_to_keep=0) for model in (loop, waves)]
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits, **CLOSE)
    assert_same_state(outputs[1].state, outputs[0].state, **CLOSE)
    for output in outputs:
        output.loss.backward()
    for (name, found), expected in zip(waves.named_parameters(), loop.parameters(), strict=True):
        wanted = torch.zeros_like(found) if expected.grad is None else expected.grad
        gradient = torch.zeros_like(found) if found.grad is None else found.grad
        assert torch.allclose(gradient, wanted, **CLOSE), name


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, NUM_TOKENS), min_size=1, max_size=4))
def test_law_8_any_number_of_reads_is_one_read(model, tmp_path, cuts):
    ids = random_ids(2, NUM_TOKENS)
    whole = model(ids)
    state, logits = model.init_state(2), []
    for piece in ids.tensor_split(sorted(cuts), dim=1):
        output = model(piece, state=state)
        state = output.state
        if piece.shape[1]:
            logits.append(output.logits)
    assert_same_state(state, whole.state, **CLOSE)
    torch.testing.assert_close(torch.cat(logits, 1), whole.logits, **CLOSE)
    read = model.init_state(2)
    for piece in ids.tensor_split(sorted(cuts), dim=1):
        save_state(tmp_path / "state.safetensors", model.read(piece, read), model)
        read = load_state(tmp_path / "state.safetensors", model)
    assert_same_state(read, whole.state, **CLOSE)


def test_law_9_no_position_sees_the_future(model):
    ids, start = random_ids(2, NUM_TOKENS), model.read(random_ids(2, 6, seed=5))
    logits = model(ids, state=start).logits
    for place in range(NUM_TOKENS):
        moved = (model(changed_at(ids, place), state=start).logits - logits).abs().amax((0, 2))
        assert moved[:place].sum() == 0
        assert moved[place] > 0


@pytest.mark.parametrize("side", ["left", "right"])
def test_law_10_padding_enters_neither_state_nor_logits(model, side):
    lengths, width = [NUM_TOKENS, SEGMENT_LEN, 2, 2 * SEGMENT_LEN + 3], NUM_TOKENS + 2
    rows = [random_ids(1, length, seed=index) for index, length in enumerate(lengths)]
    starts = [model.read(random_ids(1, 5, seed=10 + index)) for index in range(4)]
    ids, mask = torch.full((4, width), 2), torch.zeros(4, width, dtype=torch.long)
    start = model.read(torch.cat([random_ids(1, 5, seed=10 + index) for index in range(4)]))
    for index, row in enumerate(rows):
        place = slice(width - lengths[index], width) if side == "left" else slice(lengths[index])
        ids[index, place], mask[index, place] = row[0], 1
    padded = model(ids, attention_mask=mask, state=start)
    assert padded.logits.shape[:2] == ids.shape
    other = model(ids.masked_fill(mask == 0, 17), attention_mask=mask, state=start)
    torch.testing.assert_close(other.logits, padded.logits, rtol=0, atol=0)
    for index, row in enumerate(rows):
        alone = model(row, state=starts[index])
        found = padded.logits[index][mask[index].bool()].unsqueeze(0)
        torch.testing.assert_close(found, alone.logits, **CLOSE)
        state = padded.state.select_rows(torch.tensor([index]))
        num_pending = int(state.num_pending[0])
        assert torch.equal(state.pending[:, :num_pending], alone.state.pending)
        for layer, expected in zip(state.layers, alone.state.layers, strict=True):
            for name, value in layer.tensors().items():
                own = value[tuple(slice(size) for size in expected.tensors()[name].shape)]
                torch.testing.assert_close(own, expected.tensors()[name], **CLOSE)
                assert value.count_nonzero() == own.count_nonzero(), "a row is filled up by more"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_law_11_checkpointing_changes_no_gradient(subject, family):
    gradients, ids = [], random_ids(2, NUM_TOKENS)
    for is_checkpointing in (False, True):
        model = subject.model(family=family).train()
        if is_checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, labels=ids).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    plain, checkpointed = gradients
    assert any(name.startswith("memory.") for name in plain) == subject.is_trained
    for name, gradient in plain.items():
        assert gradient is not None
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(checkpointed[name], gradient, **CLOSE)
