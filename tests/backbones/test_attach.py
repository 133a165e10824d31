"""A memory goes around the layers of a model once, and leaves nothing behind."""

import copy

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.attach import Visit, bound
from armt.core.errors import BackboneError, ConfigError
from tiny import backbone, random_ids, recurrent, roughen

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


def test_attaching_twice_is_refused():
    model = recurrent(MEMORY)
    with pytest.raises(BackboneError, match="already"):
        _ = attach(model, MEMORY, 4)
    inside = backbone()
    inside.model = model.model
    with pytest.raises(BackboneError, match="already"):
        _ = attach(inside, MEMORY, 4)


def test_the_model_keeps_its_classes():
    base = backbone()
    kinds = type(base), type(base.model.layers[0])
    model = attach(base, MEMORY, 4)
    assert model is base
    assert isinstance(model, kinds[0])
    assert isinstance(model.model.layers[0], kinds[1])
    assert type(model.model.layers[0]).__name__ == kinds[1].__name__
    assert kinds[1] is not type(model.model.layers[0])
    assert type(attach(backbone(), MEMORY, 4)) is type(model)
    assert type(backbone().model.layers[0]) is kinds[1]


def test_outside_a_recurrence_the_layers_are_plain():
    model, base, ids = recurrent(MEMORY), backbone(), random_ids(1, 5)
    found = model.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(found, base.model(input_ids=ids).last_hidden_state, rtol=0, atol=0)


def test_the_decoder_alone_is_not_trained():
    model, ids = recurrent(MEMORY).train(), random_ids(1, 5)
    with pytest.raises(BackboneError, match="called without the memory around it"):
        _ = model.model(input_ids=ids)
    with torch.no_grad():
        assert model.model(input_ids=ids).last_hidden_state.isfinite().all()
    assert model(ids, labels=ids).loss.isfinite()


def test_a_copy_has_its_own_memory():
    model, ids = recurrent(MEMORY), random_ids(1, 12)
    twin = copy.deepcopy(model)
    before = model(ids).logits
    torch.testing.assert_close(twin(ids).logits, before, rtol=0, atol=0)
    roughen(twin.memory)
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)
    assert not torch.allclose(twin(ids).logits, before)
    for layer, memory in zip(twin.anatomy.layers, twin.memory.layers, strict=True):
        assert layer.__dict__["_port"].memory is memory
        assert not any(layer is other for other in model.anatomy.layers)
    assert list(twin.anatomy.layers) == list(twin.model.layers)


def test_an_error_leaves_nothing_bound():
    model = recurrent(MEMORY)
    failing = model.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _ = model(random_ids(1, 8))
    failing.remove()
    fresh = recurrent(MEMORY)
    ids = random_ids(1, 8)
    torch.testing.assert_close(model(ids).logits, fresh(ids).logits, rtol=0, atol=0)


def test_a_pass_inside_a_pass_is_refused():
    model = recurrent(MEMORY)
    states = model.memory.init_states(1)
    with (
        bound(model.anatomy.layers, states, Visit(0, 2, True)),
        pytest.raises(BackboneError, match="one thread"),
    ):
        _ = model(random_ids(1, 8))
    assert model(random_ids(1, 8)).logits.isfinite().all()


def test_a_pass_that_does_not_end_the_segment_writes_nothing():
    model = recurrent(MEMORY)
    states = model.memory.init_states(1)
    for is_writing in (False, True):
        with bound(model.anatomy.layers, states, Visit(0, 2, is_writing)) as ports:
            _ = model.model(inputs_embeds=torch.randn(1, 6, 16, dtype=torch.float64))
            handed_back = [port.state for port in ports]
        for old, new in zip(states, handed_back, strict=True):
            assert (new is old) == (not is_writing)


def test_a_model_that_checkpoints_reentrantly_is_refused():
    model = backbone()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ConfigError, match="use_reentrant"):
        _ = attach(model, MEMORY, 4)


def test_checkpointing_may_be_enabled_before():
    base = backbone().train()
    base.gradient_checkpointing_enable()
    model = attach(base, MEMORY, 4)
    roughen(model.memory)
    ids = random_ids(1, 12)
    model(ids, labels=ids).loss.backward()
    plain = recurrent(MEMORY).train()
    plain.memory.load_state_dict(model.memory.state_dict())
    plain(ids, labels=ids).loss.backward()
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-11)
