"""Reading in half precision: only where no weight loses a digit, and close to single precision."""

import pytest
import torch

from armt import load_state, save_state
from armt.recurrence.fingerprint import model_fingerprint
from armt.serving import boxed_model
from armt.serving.boxed_model import has_half_units, load_boxed, save_boxed
from tiny import assert_same_state
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
