"""Reading in half precision: only where no weight loses a digit, and close to single precision."""

import pytest
import torch

from armt import load_state, save_state
from armt.core.errors import StateError
from armt.core.registry import MEMORIES
from armt.recurrence.fingerprint import model_fingerprint
from armt.serving import boxed_model
from armt.serving.boxed_model import BoxedModel, has_half_units, load_boxed, save_boxed
from tiny import assert_same_state, random_ids, recurrent
from tiny_boxed import PROSE, tiny_boxed


@pytest.fixture
def folder(tmp_path):
    """A model whose weights are numbers of bfloat16, kept in single precision."""
    boxed = tiny_boxed()
    for weight in boxed.model.parameters():
        weight.data = weight.data.bfloat16().float()
    save_boxed(tmp_path, boxed)
    return tmp_path


@pytest.fixture
def has_units(monkeypatch):
    monkeypatch.setattr(boxed_model, "has_half_units", lambda: True)


def test_texts_are_read_in_half_precision_where_the_processor_has_units_for_it(folder, has_units):
    boxed = load_boxed(folder)
    assert boxed.half is not None
    assert {weight.dtype for weight in boxed.half.parameters()} == {torch.bfloat16}
    ids = boxed.encode_text(PROSE * 3)
    found, plain = boxed.read(ids), boxed.model.read(ids)
    for one, other in zip(found.layers, plain.layers, strict=True):
        assert one.association.dtype == torch.float32
        gap = (one.association - other.association).norm() / other.association.norm()
        assert 0 < gap < 0.02
    assert {weight.dtype for weight in boxed.model.parameters()} == {torch.float32}


def test_a_reading_in_parts_gives_the_same_state(folder, has_units):
    boxed = load_boxed(folder)
    ids = boxed.encode_text(PROSE * 3)
    parts = boxed.read(ids[100:], boxed.read(ids[:100]))
    assert_same_state(parts, boxed.read(ids))


def test_the_state_belongs_to_the_model_of_any_machine(folder, has_units, monkeypatch):
    fast = load_boxed(folder)
    monkeypatch.setattr(boxed_model, "has_half_units", lambda: False)
    plain = load_boxed(folder)
    assert plain.half is None
    assert model_fingerprint(fast.model) == model_fingerprint(plain.model)
    ids = plain.encode_text(PROSE)
    assert_same_state(plain.read(ids), fast.model.read(ids))
    path = folder / "book.state"
    save_state(path, fast.read(ids), fast.model)
    assert_same_state(load_state(path, plain.model), fast.read(ids))


def half_of_a_memory(name) -> BoxedModel:
    model = recurrent(MEMORIES[name].tiny, segment_len=8).float()
    for weight in model.parameters():
        weight.data = weight.data.bfloat16().float()
    boxed = tiny_boxed()
    return BoxedModel(model, boxed.encoder, boxed.form, boxed_model._half(model))


def floating_dtypes(state) -> set[torch.dtype]:
    tensors = [value for layer in state.layers for value in layer.tensors().values()]
    return {value.dtype for value in tensors if value.is_floating_point()}


@pytest.mark.parametrize("name", [card.name for card in MEMORIES])
def test_the_state_of_every_memory_is_in_single_precision(tmp_path, name):
    boxed, ids = half_of_a_memory(name), random_ids(2, 27)
    state = boxed.read(ids)
    assert floating_dtypes(state) <= {torch.float32}
    save_state(tmp_path / "book.state", state, boxed.model)
    assert_same_state(load_state(tmp_path / "book.state", boxed.model), state)
    assert boxed.model(ids, state=state).logits.isfinite().all()


@pytest.mark.parametrize("name", [card.name for card in MEMORIES])
def test_every_memory_is_read_in_parts_in_half_precision(name):
    boxed, ids = half_of_a_memory(name), random_ids(2, 27)
    parts = boxed.read(ids[:, 13:], boxed.read(ids[:, :13], boxed.model.init_state(2)))
    assert floating_dtypes(parts) <= {torch.float32}
    assert_same_state(parts, boxed.read(ids))


@pytest.mark.parametrize("name", [card.name for card in MEMORIES])
def test_a_model_in_half_precision_goes_on_from_a_state_in_single_precision(name):
    boxed, ids = half_of_a_memory(name), random_ids(2, 27)
    assert boxed.half is not None
    for state in (boxed.model.init_state(2), boxed.model.read(ids)):
        assert boxed.half(ids, state=state).logits.isfinite().all()


def test_an_empty_text_leaves_every_digit():
    boxed, ids = half_of_a_memory("rmt"), random_ids(2, 27)
    state = boxed.model.read(ids)
    assert_same_state(boxed.read(ids[:, :0], state), state)


def test_a_state_of_another_model_is_refused_before_it_is_read(folder, has_units):
    boxed, other = load_boxed(folder), half_of_a_memory("rmt")
    with pytest.raises(StateError, match="is of 1 memories; this model has 2"):
        _ = boxed.read([3, 4], other.model.init_state(1))
    with pytest.raises(StateError):
        _ = boxed.read([3, 4], load_boxed(folder).model.double().init_state(1))


def test_weights_that_would_lose_digits_are_read_in_full(tmp_path, has_units):
    save_boxed(tmp_path, tiny_boxed())
    boxed = load_boxed(tmp_path)
    assert boxed.half is None
    ids = boxed.encode_text(PROSE)
    assert_same_state(boxed.read(ids), boxed.model.read(ids))


def test_units_are_asked_of_torch(monkeypatch):
    for told, expected in (({"amx_bf16": True}, True), ({"avx512_bf16": True}, False), ({}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=told: told, raising=False)
        assert has_half_units() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_half_units()


def test_the_last_good_state_of_a_broken_reading_is_in_single_precision(folder, has_units):
    boxed = load_boxed(folder)
    assert boxed.half is not None
    ids = boxed.encode_text(PROSE * 3)
    bad = min({*range(boxed.encoder.vocab_size)} - {*ids})
    with torch.no_grad():
        boxed.half.get_input_embeddings().weight[bad] = float("nan")
    pieces = [*(ids[at : at + 500] for at in range(0, len(ids), 500)), [bad], *[ids] * 40]
    with pytest.raises(StateError, match="finite") as caught:
        _ = boxed.read(iter(pieces))
    assert caught.value.state is not None
    assert floating_dtypes(caught.value.state) == {torch.float32}
