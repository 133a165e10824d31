"""What callers give to `forward`, `read` and `generate`, and what of it is refused."""

from functools import partial

import pytest
import torch
from transformers import GenerationConfig

from armt import ARMTConfig
from armt.core.errors import ArmtError, DataError
from armt.recurrence.state_file import load_state, save_state
from tiny import SEGMENT_LEN, VOCAB, assert_same_state, random_ids, recurrent


@pytest.fixture
def model():
    return recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_whole_numbers_of_any_kind_are_ids_and_labels(model, dtype, tmp_path):
    ids = random_ids(2, 2 * SEGMENT_LEN + 1)
    found = model(ids.to(dtype), labels=ids.to(dtype))
    expected = model(ids, labels=ids)
    assert torch.equal(found.loss, expected.loss)
    assert_same_state(found.state, expected.state)
    save_state(tmp_path / "state", found.state, model)  # a file takes only what it gives back
    assert_same_state(load_state(tmp_path / "state", model), expected.state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_ids": torch.zeros(2, 4)}, r"`input_ids` .* Got torch.float32"),
        ({"input_ids": torch.ones(2, 4, dtype=torch.bool)}, r"Got torch.bool"),
        ({"input_ids": [[3, 4]]}, "Got a list"),
        ({"input_ids": random_ids(2, 4), "labels": torch.zeros(2, 4)}, "`labels` .* whole numbers"),
        ({"input_ids": random_ids(0, 4)}, r"rows and columns.*\(0, 4\)"),
    ],
)
def test_what_is_no_ids_is_told(model, options, said):
    with pytest.raises(DataError, match=said):
        _ = model(**options)


@pytest.mark.parametrize("wrong", [-1, VOCAB])
@pytest.mark.parametrize("num_tokens", [2, 3 * SEGMENT_LEN])
def test_ids_outside_the_vocabulary_are_told_before_they_wait_in_a_state(model, wrong, num_tokens):
    ids = random_ids(2, num_tokens)
    ids[0, 1] = wrong
    for call in (model, model.read, partial(model.generate, max_new_tokens=2)):
        with pytest.raises(DataError, match=f"between 0 and {VOCAB - 1}"):
            _ = call(ids)
    mask = (ids != wrong).long()  # padding may be anything
    assert model(ids, attention_mask=mask).state.num_tokens.tolist() == [num_tokens - 1, num_tokens]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cache_implementation", "static"),
        ("guidance_scale", 1.5),
        ("output_attentions", True),
        ("output_hidden_states", True),
    ],
)
def test_generation_is_asked_for_nothing_it_cannot_give(model, name, value):
    options = {"max_new_tokens": 2, "do_sample": False, "return_dict_in_generate": True}
    for given in ({name: value}, {"generation_config": GenerationConfig(**{name: value})}):
        with pytest.raises(ArmtError, match=f"without `{name}`"):
            _ = model.generate(random_ids(1, 3), **given, **options)
    setattr(model.generation_config, name, value)
    with pytest.raises(ArmtError, match=f"without `{name}`"):
        _ = model.generate(random_ids(1, 3), **options)


def test_options_of_generation_that_ask_for_nothing_are_taken(model):
    plain = model.generate(random_ids(1, 3), max_new_tokens=2, do_sample=False)
    nothing = {"guidance_scale": 1.0, "output_hidden_states": False, "cache_implementation": None}
    found = model.generate(random_ids(1, 3), max_new_tokens=2, do_sample=False, **nothing)
    assert torch.equal(found, plain)
