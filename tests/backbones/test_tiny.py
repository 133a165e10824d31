"""Small decoders of every family: deterministic, trained by a loss, seen as far as they should."""

import pytest
import torch

from armt.backbones.huggingface import CACHE_NAMES
from armt.backbones.tiny import TinyBackboneConfig
from armt.core.errors import ConfigError

SHAPE = {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_ffn": 16, "max_positions": 32}
BACKBONES = {
    "llama": TinyBackboneConfig(**SHAPE),
    "gpt_neox": TinyBackboneConfig(family="gpt_neox", **SHAPE),
    "mistral": TinyBackboneConfig(family="mistral", **SHAPE),
    "mamba2": TinyBackboneConfig(family="mamba2", d_state=4, **SHAPE),
}


def reach(config: TinyBackboneConfig, length: int = 24) -> int:
    """How many later positions learn of the first token."""
    model = config.build(20, seed=0).eval()
    ids = torch.zeros(1, length, dtype=torch.long)
    other = ids.clone()
    other[0, 0] = 1
    with torch.no_grad():
        moved = (model(ids).logits - model(other).logits).abs().amax(-1)[0]
    return int((moved > 0).nonzero().max())


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_depend_on_the_seed_alone(name):
    state = torch.get_rng_state()
    first, again, other = (BACKBONES[name].build(20, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert type(first).__name__.lower().startswith(name.replace("_", ""))
    weights = [model.get_input_embeddings().weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", BACKBONES)
def test_without_a_window_the_whole_row_is_seen(name):
    assert reach(BACKBONES[name]) == 23


def test_a_window_reaches_as_far_as_the_layers_together():
    windowed = TinyBackboneConfig(family="mistral", sliding_window=4, **SHAPE)
    assert reach(windowed) == 2 * 3, "each of two layers sees three tokens back"


@pytest.mark.parametrize("name", BACKBONES)
def test_the_state_that_a_backbone_keeps_is_that_of_its_cache(name):
    model = BACKBONES[name].build(20, seed=0).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 5, dtype=torch.long), use_cache=True)
    cache = next(output[key] for key in CACHE_NAMES if output.get(key) is not None)
    kept = [
        state
        for layer in cache.layers
        for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {}))
        for state in (states.values() if isinstance(states, dict) else [states])
    ]
    assert BACKBONES[name].state_nbytes == sum(state.nbytes for state in kept)


def test_a_long_row_is_the_same_in_any_chunks():
    config = BACKBONES["mamba2"]
    model, whole = config.build(20, seed=0).eval(), config.build(20, seed=0).eval()
    for layer in whole.backbone.layers:
        layer.mixer.chunk_size = 256
    ids = torch.arange(100).remainder(20).unsqueeze(0)
    assert model.config.chunk_size < 100
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, whole(ids).logits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": "martian"}, "mamba2. Got 'martian'"),
        ({"family": "llama", "sliding_window": 4}, "only a mistral"),
        ({"family": "mistral", "sliding_window": 0}, "at least 1"),
        ({"family": "mamba2", "d_state": 0}, "d_state"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = TinyBackboneConfig(**options)
