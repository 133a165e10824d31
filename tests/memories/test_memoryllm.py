"""MemoryLLM: the pool is a prefix of keys and values, and forgets as the paper says."""

from itertools import pairwise

import pytest
import torch

from armt import attach
from armt.core.contract import Lookup, Written
from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.memoryllm import MemoryLLMConfig
from tiny import SEGMENT_LEN, backbone, isolated_logits, random_ids, recurrent, roughen
from whole_past import WholePastConfig

DOUBLE = torch.float64
SHAPE = LayerShape(d_model=8, num_heads=4, num_kv_heads=2, head_dim=3, index=1, num_layers=2)
NUM_TOKENS = 4 * SEGMENT_LEN + 2
SMALL = MemoryLLMConfig(num_memory_tokens=2, num_slots=5)


def new_tokens(value, number=2, num_rows=3):
    keys = torch.full((num_rows, 2, number, 3), float(value), dtype=DOUBLE)
    return Written(keys.repeat(1, 2, 1, 1), keys, -keys, None)


def written(memory, number, num_rows=3):
    """The states after segments whose tokens are numbered from 1."""
    states = [memory.init_state(num_rows)]
    for value in range(1, number + 1):
        states.append(memory.write(new_tokens(value, num_rows=num_rows), states[-1]))
    return states


def test_new_tokens_stand_last_and_old_ones_keep_their_order():
    states = written(SMALL.build(SHAPE).double(), 40)
    for number, (old, new) in enumerate(pairwise(states), start=1):
        assert new.keys.shape == old.keys.shape == (3, 2, 5, 3)
        before, after = old.keys[0, 0, :, 0].tolist(), new.keys[0, 0, :, 0].tolist()
        assert after[-2:] == [number, number]
        left = iter(before)
        assert all(value in left for value in after[:-2]), "in the order of the pool"
        assert torch.equal(new.values, -new.keys)
        assert new.num_filled.tolist() == [min(5, 2 * number)] * 3
        num_used = min(5, 2 * number)
        assert 0.0 not in after[5 - num_used :], "nothing in use is empty"


def test_what_is_forgotten_depends_on_seed_layer_and_step_alone():
    first = [written(SMALL.build(SHAPE).double(), 12)[-1] for _ in range(2)]
    assert torch.equal(first[0].keys, first[1].keys)
    resumed = SMALL.build(SHAPE).double().write(new_tokens(13), first[0])
    again = SMALL.build(SHAPE).double().write(new_tokens(13), first[1])
    assert torch.equal(resumed.keys, again.keys)
    others = [
        MemoryLLMConfig(num_memory_tokens=2, num_slots=5, seed=1).build(SHAPE),
        SMALL.build(LayerShape(**vars(SHAPE) | {"index": 0})),
    ]
    for other in others:
        assert not torch.equal(written(other.double(), 12)[-1].keys, first[0].keys)


def test_the_text_sees_the_pool_and_memory_tokens_its_newest():
    memory = SMALL.build(SHAPE).double()
    queries, keys = torch.randn(3, 4, 6, 3, dtype=DOUBLE), torch.randn(3, 2, 6, 3, dtype=DOUBLE)
    is_visible = torch.ones(3, 6, 6).tril().bool()
    for number, in_use in ((0, 0), (1, 2), (2, 4), (9, 5)):
        state = written(memory, number)[-1]
        found = memory.extend(Lookup(queries, keys, is_visible, 2, None), state)
        expected = torch.zeros(6, 5, dtype=torch.bool)
        expected[:4, 5 - in_use :] = True
        expected[4:, 5 - min(2, in_use) :] = True
        assert torch.equal(found.is_visible, expected.expand(3, 1, -1, -1))
        assert found.positions.tolist() == [-5, -4, -3, -2, -1]
        assert torch.equal(found.keys, state.keys)
        part = memory.extend(Lookup(queries, keys, is_visible, 0, None), state)
        assert torch.equal(part.is_visible[0, 0], expected[:1].expand(6, -1))


@torch.no_grad()
def test_before_anything_is_forgotten_it_is_attention_to_all_memory_tokens():
    ids, num_segments = random_ids(2, NUM_TOKENS), 4
    config = MemoryLLMConfig(num_memory_tokens=1, num_slots=num_segments)
    models = [
        attach(backbone("qwen3"), memory, SEGMENT_LEN)
        for memory in (config, WholePastConfig(num_memory_tokens=1, num_slots=num_segments))
    ]
    _ = models[1].memory.load_state_dict(models[0].memory.state_dict())
    # a memory token sees the newest token alone, which in the second segment are all there are
    found, expected = (model(ids[:, : 2 * SEGMENT_LEN + 3]).logits for model in models)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    apart = isolated_logits(backbone("qwen3"), ids[:, : 2 * SEGMENT_LEN + 3])
    assert (apart - expected)[:, SEGMENT_LEN:].abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text"])
def test_an_empty_pool_is_the_backbone(family):
    ids = random_ids(2, SEGMENT_LEN)
    found = recurrent(SMALL, family)(ids).logits
    expected = backbone(family)(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gpt_neox"])
def test_the_prefix_equals_hidden_states_put_before_the_layers_input(family):
    """The pool of a layer, projected by the layer itself from what its tokens were as its input."""
    base = backbone(family, **({"n_layer": 1} if family == "gpt2" else {"num_hidden_layers": 1}))
    model = attach(base, MemoryLLMConfig(num_memory_tokens=3, num_slots=3), SEGMENT_LEN)
    roughen(model.memory)
    first, second = random_ids(1, 2 * SEGMENT_LEN).split(SEGMENT_LEN, 1)
    found = model(second, state=model.read(first)).logits
    plain = backbone(family, **({"n_layer": 1} if family == "gpt2" else {"num_hidden_layers": 1}))
    embed = plain.get_input_embeddings()
    joined = torch.cat([model.memory.tokens.unsqueeze(0), embed(second)], dim=1)
    # GPT-2 adds positions to embeddings: a memory token keeps the one at which it was written
    places = torch.arange(-3, SEGMENT_LEN)
    if family == "gpt2":
        places = torch.tensor([4, 5, 6, 0, 1, 2, 3])
    mask = torch.ones(1, 1, 7, 7, dtype=torch.bool).tril()
    expected = plain(
        inputs_embeds=joined, position_ids=places.unsqueeze(0), attention_mask=mask
    ).logits[:, 3:]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("options", [(0, 4), (5, 4)])
def test_wrong_options_are_told(options):
    with pytest.raises(ConfigError, match="num_memory_tokens"):
        _ = MemoryLLMConfig(num_memory_tokens=options[0], num_slots=options[1])
