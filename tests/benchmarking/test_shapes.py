from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig
from armt.benchmarking.shapes import MODEL_SHAPES, build_model, model_shape
from armt.core.errors import UnknownNameError
from armt.serving.boxed_model import load_boxed
from armt.serving.folders import boxed_folder
from benchmarking.benches import CASE, SHAPE, make_bench


def built(shape, segment_len, dtype=torch.float32, seed=0):
    options = {"dtype": dtype, "device": torch.device("cpu"), "seed": seed}
    return build_model(shape, ARMTConfig(), segment_len, **options)


@pytest.mark.parametrize("name", MODEL_SHAPES)
def test_every_shape_is_what_its_name_says(name):
    shape = model_shape(name)
    model = built(replace(shape, num_layers=2, vocab_size=5), shape.segment_len, torch.bfloat16)
    config = model.config
    assert config.model_type == shape.family
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (
        2,
        shape.d_model,
        5,
    )
    assert (len(model.memory.layers), model.memory.num_tokens) == (2, 16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.recurrence.segment_len == shape.segment_len


@pytest.mark.parametrize(
    ("name", "num_millions"), [("gpt2-small", 85), ("small", 11), ("llama-1b", 973)]
)
def test_the_layers_have_the_weights_of_their_models(name, num_millions):
    shape = model_shape(name)
    (layer,) = built(replace(shape, num_layers=1, vocab_size=1), 8).anatomy.layers
    num_weights = shape.num_layers * sum(each.numel() for each in layer.parameters())
    assert round(num_weights / 1e6) == num_millions


def test_the_boxed_shape_is_that_of_the_boxed_model():
    shape, model = model_shape("boxed"), load_boxed(boxed_folder()).model
    config = model.config
    assert shape.to_dict() == {
        "name": "boxed",
        "family": config.model_type,
        "num_layers": config.num_hidden_layers,
        "d_model": config.hidden_size,
        "num_heads": config.num_attention_heads,
        "num_kv_heads": config.num_key_value_heads,
        "d_ffn": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "segment_len": model.recurrence.segment_len,
    }


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_memory_matters_and_weights_come_from_the_seed(family):
    shape = replace(SHAPE, family=family)
    before = torch.get_rng_state()
    model, same, other = (built(shape, 8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    ids = torch.arange(20).unsqueeze(0)
    states = [each.read(ids).layers[1].association for each in (model, same, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    with torch.no_grad():
        with_memory = model(input_ids=ids, logits_to_keep=1).logits
        _ = [layer.to_value.weight.zero_() for layer in model.memory.layers]
        assert not torch.equal(with_memory, model(input_ids=ids, logits_to_keep=1).logits)


def test_the_state_does_not_grow_over_many_segments(tmp_path):
    bench, _ = make_bench(tmp_path)
    model = bench.model(CASE)
    ids = bench.ids(CASE, 8 * 800)
    half = model.read(ids[:, : 8 * 400])
    lengths = [
        each.layers[1].association.norm() for each in (half, model.read(ids[:, 3200:], half))
    ]
    assert 0 < lengths[1] < 1.5 * lengths[0]


def test_an_unknown_shape_is_told():
    with pytest.raises(UnknownNameError, match="Did you mean 'small'"):
        _ = model_shape("smal")
