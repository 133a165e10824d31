import math

import numpy as np
import pytest
import torch

from armt.core.errors import ConfigError
from armt.tasks.factual_recall import FactualRecallConfig
from armt.training.factual_recall.one_layer import (
    OneLayerConfig,
    OneLayerTransformer,
    token_counts,
    train_one_layer,
)

TASK = FactualRecallConfig(num_subjects=4, num_relations=3, num_answers=2, sequence_len=6)
CONFIG = OneLayerConfig(d_model=12, num_heads=3, head_dim=2, d_mlp=5)


def position_by_position(model, ids):
    """One row through plain attention of its last position over its own positions."""
    x, size, heads = model.embedding[ids], model.config.head_dim, []
    for head in range(model.config.num_heads):
        part = slice(head * size, (head + 1) * size)
        query, keys = (x[-1] @ model.to_query)[part], (x @ model.to_key)[:, part]
        weights = (keys @ query / math.sqrt(size)).softmax(0)
        heads.append(weights @ (x @ model.to_value)[:, part])
    hidden = torch.cat(heads) @ model.to_output
    return model.outputs @ (hidden + (hidden @ model.first).relu() @ model.second)


def test_counts_of_tokens():
    ids = torch.tensor([[0, 2, 2], [1, 1, 1]])
    assert token_counts(ids, 4).tolist() == [[1, 0, 2, 0], [0, 3, 0, 0]]


@torch.no_grad()
@pytest.mark.parametrize("d_mlp", [0, 5])
def test_attention_over_counts_is_attention_over_positions(d_mlp):
    config = OneLayerConfig(d_model=12, num_heads=3, head_dim=2, d_mlp=d_mlp)
    model = OneLayerTransformer(TASK, config, seed=0)
    ids = TASK.build().draw(np.random.default_rng(0), 8).ids
    found = model(token_counts(ids, TASK.vocab_size))
    expected = torch.stack([position_by_position(model, row) for row in ids])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_only_the_maps_are_trained():
    model = OneLayerTransformer(TASK, CONFIG, seed=0)
    names = {name for name, _ in model.named_parameters()}
    assert names == {"to_query", "to_key", "to_value", "to_output", "first", "second"}
    number = sum(parameter.numel() for parameter in model.parameters())
    assert number == CONFIG.num_attention_parameters + CONFIG.num_mlp_parameters == 288 + 120
    assert torch.std(model.embedding) == pytest.approx(12**-0.5, rel=0.15)


@pytest.mark.parametrize("d_mlp", [0, 16])
def test_a_large_one_learns_all_facts(d_mlp):
    config = OneLayerConfig(d_model=24, num_heads=4, head_dim=6, d_mlp=d_mlp)
    trained = train_one_layer(TASK.build(), config, 0, num_steps=400, batch_size=128)
    assert trained.accuracy > 0.99


def test_a_small_one_does_not_nor_one_that_was_not_trained():
    task = FactualRecallConfig().build()
    small = OneLayerConfig(d_model=8, num_heads=4, head_dim=2)
    assert train_one_layer(task, small, 0, num_steps=300, batch_size=128).accuracy < 0.3
    large = OneLayerConfig(d_model=24, num_heads=8, head_dim=3, d_mlp=24)
    assert train_one_layer(task, large, 0, num_steps=0).accuracy < 0.3
    assert train_one_layer(task, large, 0, num_steps=300, batch_size=128).accuracy > 0.9


def test_the_same_seed_trains_the_same_model():
    runs = [
        train_one_layer(TASK.build(), CONFIG, seed, num_steps=5, batch_size=8).model
        for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0].to_value, runs[1].to_value)
    assert not torch.equal(runs[0].to_value, runs[2].to_value)


@pytest.mark.parametrize("options", [{"num_heads": 0}, {"d_model": 0}, {"d_mlp": -1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        _ = OneLayerConfig(**options)
