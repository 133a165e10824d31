"""Backbones with a recurrence of their own, alone or beside attention: caches that hold states."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconH1Config, Mamba2Config

from armt import ARMTConfig, NoMemoryConfig, attach
from armt.memories.hmt import HMTConfig
from armt.memories.lm2 import LM2Config
from armt.memories.rmt import RMTConfig
from tiny import SEGMENT_LEN, VOCAB, assert_same_state, random_ids, roughen

MEMORIES = {
    "armt": ARMTConfig(num_memory_tokens=2, d_mem=4),
    "rmt": RMTConfig(num_memory_tokens=2),  # has tokens before the text, too
    "hmt": HMTConfig(num_cached=3, num_sensory=2, d_query=4),  # looks at a segment once it is read
    "lm2": LM2Config(num_slots=3, num_heads=2),  # reads a segment anew to write it
    "none": NoMemoryConfig(),
}
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
"""The norms of these backbones are taken in float32, whatever their dtype."""

SHAPE = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2}
BACKBONES = {
    "mamba2": Mamba2Config(
        num_heads=2, head_dim=16, n_groups=1, state_size=4, chunk_size=4, **SHAPE
    ),
    "falcon_h1": FalconH1Config(  # attention and recurrence side by side in every layer
        intermediate_size=24,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        mamba_d_ssm=16,
        mamba_n_heads=2,
        mamba_d_head=8,
        mamba_n_groups=1,
        mamba_d_state=4,
        mamba_chunk_size=4,
        max_position_embeddings=64,
        **SHAPE,
    ),
}


def backbone(family):
    """Returns a tiny random decoder in float64."""
    config = copy.deepcopy(BACKBONES[family])
    _ = torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    roughen(model)
    return model.double().eval()


def recurrent(memory, segment_len=SEGMENT_LEN, family="mamba2"):
    model = attach(backbone(family), memory, segment_len)
    roughen(model.memory)
    return model


@torch.no_grad()
def without_cache(model, prompt, num_tokens, state):
    """Greedy continuation that runs the whole text anew for each token."""
    ids, logits = prompt, []
    for _ in range(num_tokens):
        logits.append(model(ids, state=state).logits[:, -1])
        ids = torch.cat([ids, logits[-1].argmax(-1, keepdim=True)], dim=1)
    return ids, torch.stack(logits)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("family", BACKBONES)
def test_generation_equals_running_the_text_anew(family, name):
    model = recurrent(MEMORIES[name], family=family)
    state = model.read(random_ids(2, 6), model.init_state(2))
    prompt, num_new = random_ids(2, SEGMENT_LEN + 1, seed=2), 2 * SEGMENT_LEN + 1
    output = model.generate(
        prompt,
        state=state,
        max_new_tokens=num_new,
        return_dict_in_generate=True,
        output_logits=True,
        **GREEDY,
    )
    ids, logits = without_cache(model, prompt, num_new, state)
    assert output.sequences.tolist() == ids.tolist()
    torch.testing.assert_close(torch.stack(output.logits), logits.float(), **CLOSE)
    expected = model(ids[:, :-1], state=state).state
    assert_same_state(output.past_key_values.state, expected, **CLOSE)


@pytest.mark.parametrize("family", BACKBONES)
def test_rows_of_different_lengths_equal_rows_alone(family):
    model = recurrent(MEMORIES["armt"], family=family)
    ids, lengths = random_ids(3, 9), [3, 9, SEGMENT_LEN]
    mask = torch.tensor([[0] * (9 - length) + [1] * length for length in lengths])
    together = model.generate(ids, attention_mask=mask, max_new_tokens=7, **GREEDY)
    for row, length in enumerate(lengths):
        alone = model.generate(ids[row : row + 1, -length:], max_new_tokens=7, **GREEDY)
        assert together[row, 9:].tolist() == alone[0, length:].tolist()


@pytest.mark.parametrize("family", BACKBONES)
def test_beams_equal_those_of_the_backbone_inside_one_segment(family):
    options = {"max_new_tokens": 6, "num_beams": 4, "length_penalty": 0.0} | GREEDY
    prompt = random_ids(2, 5)
    expected = backbone(family).generate(prompt, **options)
    model = recurrent(NoMemoryConfig(), 32, family)
    assert torch.equal(model.generate(prompt, **options), expected)


def test_a_gradient_reaches_backbone_and_memory():
    model = recurrent(MEMORIES["armt"]).train()
    ids = random_ids(2, 11)
    model(ids, labels=ids).loss.backward()
    assert model.backbone.layers[0].mixer.in_proj.weight.grad.abs().sum() > 0
    assert model.memory.layers[0].to_key.weight.grad.abs().sum() > 0


def test_transformers_has_nothing_to_warn_of(monkeypatch):
    def warn(message, *args):
        raise AssertionError(message)

    monkeypatch.setattr("transformers.modeling_utils.logger.warning", warn)
    model = recurrent(MEMORIES["armt"])
    assert type(model).can_generate()
    assert model.generation_config is not None
