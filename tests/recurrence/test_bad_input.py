"""States, embedders and backbones that do not suit a memory are told, and nothing is lost."""

import dataclasses

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.core.errors import (
    BackboneError,
    ConfigError,
    StateError,
    StateFileError,
    UnknownNameError,
)
from armt.memories.hmt import HMTConfig
from armt.memories.memlong import EMBEDDERS, MemLongConfig
from armt.memories.memoryllm import MemoryLLMConfig
from armt.memories.mplus import MPlusConfig
from armt.memories.rmt import RMTConfig
from armt.memories.rmt_r import RMTRConfig
from armt.recurrence.state_file import load_state, save_state
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent

POOL = MemoryLLMConfig(num_memory_tokens=2, num_slots=5)
PLUS = MPlusConfig(num_memory_tokens=2, num_slots=5, num_retrieved=3, d_retriever=4)
PASSAGES = MemLongConfig(
    passage_len=2, num_passages=2, memory_len=64, memory_layer=0, retrieval_layers=(0, 1)
)
KEY_VALUE = {"memoryllm": POOL, "mplus": PLUS, "memlong": PASSAGES}


def assert_untouched(base, plain):
    assert type(base) is type(plain)
    assert not hasattr(base, "memory")
    assert not any("_port" in module.__dict__ for module in base.modules())
    assert vars(base).keys() == vars(plain).keys()
    for module, other in zip(base.modules(), plain.modules(), strict=True):
        assert type(module) is type(other)
    assert base.config._attn_implementation == plain.config._attn_implementation
    assert base.config.to_dict() == plain.config.to_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(base.state_dict()[name], value)


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (POOL, {"num_slots": 7}, r"`keys` of shape \(1, 5, 8\) .* \(1, 7, 8\)"),
        (PLUS, {"num_slots": 7}, r"`keys` of shape \(1, 5, 8\) .* \(1, 7, 8\)"),
        (PLUS, {"d_retriever": 6}, r"`long_vectors` of shape \(\d+, 4\) .* \(0, 6\)"),
        (PASSAGES, {"passage_len": 4}, r"`keys` of shape \(12, 1, 2, 8\) .* \(0, 1, 4, 8\)"),
        (ARMTConfig(num_memory_tokens=2, d_mem=4), {"d_mem": 6}, "`association` of shape"),
    ],
)
def test_a_state_with_a_pool_of_another_size_is_told_and_stays_whole(config, change, message):
    reader, other = recurrent(config), recurrent(dataclasses.replace(config, **change))
    text, more = random_ids(2, 6 * SEGMENT_LEN), random_ids(2, 5, seed=4)
    state = reader.read(text)
    expected = reader.read(more, state)
    calls = [lambda: other.read(more, state), lambda: other(more, state=state)]
    calls += [lambda: other.generate(more, state=state)]
    for call in calls:
        with pytest.raises(StateError, match=f"{message}.*Go on with the model that read the text"):
            call()
    assert_same_state(reader.read(more, state), expected)
    assert other.read(more).layers[0].tensors().keys() == state.layers[0].tensors().keys()


@torch.no_grad()
def test_a_state_of_another_memory_is_told():
    state = recurrent(POOL).read(random_ids(1, 8))
    with pytest.raises(StateError, match=r"is a MemoryLLMState, with keys, .*; this model's has"):
        _ = recurrent(PLUS).read(random_ids(1, 8), state)
    with pytest.raises(StateError, match="is of 2 memories; this model has 1"):
        _ = recurrent(RMTRConfig(num_memory_tokens=2)).read(random_ids(1, 8), state)


@torch.no_grad()
@pytest.mark.parametrize("config", [RMTConfig(num_memory_tokens=2), POOL])
def test_a_state_of_another_precision_is_told(config):
    model, ids = recurrent(config), random_ids(1, 9)
    double = model.read(ids)
    for lower in (torch.float32, torch.bfloat16):
        with pytest.raises(StateError, match=r"in torch\.float64; this model's are in torch\."):
            _ = model.to(lower).read(ids, double)
    single = model.float().read(ids)
    with pytest.raises(StateError, match=r"in torch.float32; this model's are in torch.float64"):
        _ = model.double()(ids, state=single)
    assert model.bfloat16()(ids, state=single).logits.isfinite().all()


@torch.no_grad()
def test_a_state_file_names_the_pool_and_the_embedder_that_differ(tmp_path, monkeypatch):
    monkeypatch.setitem(EMBEDDERS._cards, "mine", EMBEDDERS["token_bag"])
    mine = dataclasses.replace(PASSAGES, embedder="mine")
    pairs = [
        (PLUS, dataclasses.replace(PLUS, num_slots=7), "num_slots: expected 7, found 5"),
        (mine, PASSAGES, "embedder: expected token_bag, found mine"),
    ]
    for number, (config, other, message) in enumerate(pairs):
        path, model = tmp_path / f"{number}.safetensors", recurrent(config)
        state = model.read(random_ids(1, 6 * SEGMENT_LEN))
        save_state(path, state, model)
        with pytest.raises(StateFileError, match=message):
            _ = load_state(path, recurrent(other))
        assert_same_state(load_state(path, model), state)


@pytest.mark.parametrize("config", KEY_VALUE.values(), ids=KEY_VALUE)
def test_a_memory_of_keys_and_values_finds_no_attention_in_a_recurrent_backbone(config):
    shape = TinyBackboneConfig(d_model=32, num_layers=2, family="mamba2", d_state=4)
    base, plain = (shape.build(50, seed=0) for _ in range(2))
    with pytest.raises(BackboneError, match=r"it is recurrent.* a memory of the residual stream"):
        _ = attach(base, config, SEGMENT_LEN)
    assert_untouched(base, plain)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(("config", "most"), [(POOL, 62), (PLUS, 62), (PASSAGES, 64)])
def test_without_a_position_left_for_a_memory_token_the_longest_segment_is_told(
    family, config, most
):
    base = backbone(family)
    with pytest.raises(ConfigError, match=f"64 positions. Choose `segment_len` of at most {most}"):
        _ = attach(base, config, most + 1)
    assert_untouched(base, backbone(family))
    assert attach(base, config, most).recurrence.segment_len == most


@pytest.mark.parametrize("remedy", ["auto", "sequential"])
@pytest.mark.parametrize(
    ("family", "config", "obstacle"),
    [
        ("mixtral", ARMTConfig(num_memory_tokens=2, d_mem=4), "which experts run"),
        ("mixtral", POOL, "which experts run"),
        ("llama", PASSAGES, "grows from segment to segment"),
        ("llama", PLUS, "grows from segment to segment"),
        ("llama", RMTConfig(num_memory_tokens=2), "does not stay in its layer"),
        ("llama", HMTConfig(num_cached=3, num_sensory=2), "does not stay in its layer"),
    ],
)
def test_a_model_that_cannot_wave_stays_as_it_was_and_takes_the_remedy(
    family, config, obstacle, remedy
):
    base, plain = backbone(family), backbone(family)
    with pytest.raises(ConfigError, match=f"{obstacle}.*schedule='auto' or 'sequential'"):
        _ = attach(base, config, SEGMENT_LEN, schedule="waves")
    assert_untouched(base, plain)
    ids = random_ids(2, 3 * SEGMENT_LEN)
    torch.testing.assert_close(base(ids).logits, plain(ids).logits, rtol=0, atol=0)
    _ = torch.manual_seed(1)
    model = attach(base, config, SEGMENT_LEN, schedule=remedy)
    _ = torch.manual_seed(1)
    expected = attach(plain, config, SEGMENT_LEN, schedule=remedy)(ids).logits
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("memory", "options", "message", "remedy"),
    [
        (POOL, {"segment_len": 0}, "at least 1", {"segment_len": 1}),
        (POOL, {"segment_len": 4.0}, r"whole number\. Got 4\.0", {"segment_len": 4}),
        (POOL, {"segment_len": True}, r"whole number\. Got True", {"segment_len": 1}),
        (POOL, {"segment_len": None}, r"whole number\. Got None", {"segment_len": 1}),
        (POOL, {"segment_len": 4, "bptt_depth": "1"}, r"whole number\. Got '1'", {"bptt_depth": 1}),
        (POOL, {"segment_len": 4, "overlap_len": 1.5}, "`overlap_len`", {"overlap_len": 1}),
        (POOL, {"segment_len": 4, "overlap_len": 4}, "less than", {"overlap_len": 3}),
        (POOL, {"segment_len": 4, "bptt_depth": -1}, "negative", {"bptt_depth": 0}),
        (POOL, {"segment_len": 4, "schedule": "wave"}, "'waves'", {"schedule": "waves"}),
        (HMTConfig(num_sensory=5), {"segment_len": 4}, "at least 5", {"segment_len": 5}),
    ],
)
def test_a_refused_recurrence_leaves_the_model_as_it_was(memory, options, message, remedy):
    base = backbone()
    with pytest.raises(ConfigError, match=message):
        _ = attach(base, memory, **options)
    assert_untouched(base, backbone())
    assert attach(base, memory, **(options | remedy))(random_ids(1, 9)).logits.isfinite().all()


def test_a_model_that_checkpoints_reentrantly_stays_as_it_was_and_takes_the_remedy():
    base, plain = backbone(), backbone()
    for model in (base, plain):
        model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ConfigError, match="Enable it again with False"):
        _ = attach(base, POOL, SEGMENT_LEN)
    assert_untouched(base, plain)
    base.gradient_checkpointing_enable({"use_reentrant": False})
    assert attach(base, POOL, SEGMENT_LEN)(random_ids(1, 9)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gpt2", r"Got 'gpt2'\. Load one with AutoModelForCausalLM"),
        (None, r"Got a NoneType\. Load one with"),
        (torch.nn.Linear(2, 2), r"Got a Linear\. Load one with"),
    ],
)
def test_what_is_no_model_is_told(model, message):
    with pytest.raises(BackboneError, match=message):
        _ = attach(model, ARMTConfig())


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("armt", r"such as `ARMTConfig\(\)` of armt\.memories\.armt\. Got the name 'armt'"),
        ("rmt", r"such as `RMTConfig\(\)` of armt\.memories\.rmt\. Got the name 'rmt'"),
        ("artm", "Unknown memory 'artm'. Did you mean 'armt'"),
        (RMTConfig, r"such as `RMTConfig\(\)`\. Got the class RMTConfig"),
        (int, r"such as `ARMTConfig\(\)`\. Got the class int"),
        ({"d_mem": 4}, r"such as `ARMTConfig\(\)`\. Got a dict"),
        (None, r"such as `ARMTConfig\(\)`\. Got a NoneType"),
    ],
)
def test_what_is_no_config_of_a_memory_is_told_and_changes_nothing(memory, message):
    base = backbone()
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        _ = attach(base, memory)
    assert_untouched(base, backbone())
