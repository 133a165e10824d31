"""CAMELoT: what a token retrieves, what it may see of it, and the leak of the published form."""

import jaxtyping
import pytest
import torch

from armt import attach
from armt.core.contract import Lookup, Written
from armt.core.errors import ArmtError, ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.camelot import CAMELoTConfig, CAMELoTState
from tiny import SEGMENT_LEN, backbone, isolated_logits, random_ids, recurrent
from whole_past import WholePastConfig

DOUBLE = torch.float64
SHAPE = LayerShape(d_model=8, num_heads=4, num_kv_heads=2, head_dim=3, index=1, num_layers=2)
NUM_TOKENS = 4 * SEGMENT_LEN + 2
PUBLISHED = CAMELoTConfig.published(num_slots=24, threshold=0.9)
EVERYTHING = CAMELoTConfig(num_slots=32, num_reads=32, threshold=1.1)


def filled(config, batch_size=2, num_tokens=9):
    memory = config.build(SHAPE).double()
    keys, values = (torch.randn(batch_size, 2, num_tokens, 3, dtype=DOUBLE) for _ in range(2))
    queries = torch.randn(batch_size, 4, num_tokens, 3, dtype=DOUBLE)
    written = Written(queries, keys, values, None)
    return memory, memory.write(written, memory.init_state(batch_size))


def lookup(num_queries=4, num_keys=6):
    queries = torch.randn(2, 4, num_queries, 3, dtype=DOUBLE)
    keys = torch.randn(2, 2, num_keys, 3, dtype=DOUBLE)
    is_visible = torch.ones(num_queries, num_keys).tril(num_keys - num_queries).bool()
    return Lookup(queries, keys, is_visible.expand(2, -1, -1), 0, None)


def test_a_query_sees_the_slots_of_its_highest_products():
    memory, state = filled(CAMELoTConfig(num_slots=12, num_reads=2, threshold=0.99))
    asked = lookup()
    found = memory.extend(asked, state).is_visible
    assert found.shape == (2, 2, 4, 12)
    for row in range(2):
        for head in range(2):
            of_head = asked.queries[row, 2 * head : 2 * head + 2].mean(0)
            products = [
                [float(query @ key) for key in state.keys[row, head][state.counts[row, head] > 0]]
                for query in of_head
            ]
            for token, scores in enumerate(products):
                best = sorted(range(len(scores)), key=lambda slot: -scores[slot])[:2]
                assert found[row, head, token].nonzero()[:, 0].tolist() == sorted(best)


def test_by_keys_a_query_sees_what_the_tokens_that_it_sees_retrieve():
    memory, state = filled(CAMELoTConfig(num_slots=12, read_by="keys", threshold=0.99))
    asked = lookup()
    found = memory.extend(asked, state).is_visible
    for row in range(2):
        for head in range(2):
            slots = state.keys[row, head][state.counts[row, head] > 0]
            nearest = [
                int(torch.cosine_similarity(slots, key.unsqueeze(0)).argmax())
                for key in asked.keys[row, head]
            ]
            for token in range(4):
                seen = {nearest[place] for place in range(6) if asked.is_visible[row, token, place]}
                assert found[row, head, token].nonzero()[:, 0].tolist() == sorted(seen)


def test_what_is_given_back_are_the_slots_one_place_before_the_segment():
    memory, state = filled(CAMELoTConfig(num_slots=12))
    found = memory.extend(lookup(), state)
    assert torch.equal(found.keys, state.keys)
    assert torch.equal(found.values, state.values)
    assert found.positions.tolist() == [-1] * 12


def test_slots_in_use_never_exceed_the_slots():
    model = recurrent(CAMELoTConfig(num_slots=6, threshold=0.99))
    state = model.read(random_ids(2, NUM_TOKENS))
    for layer in state.layers:
        assert isinstance(layer, CAMELoTState)
        assert int((layer.counts > 0).sum(-1).max()) <= 6
        assert int(layer.counts.sum(-1).max()) <= NUM_TOKENS // SEGMENT_LEN * SEGMENT_LEN
    roomy = recurrent(CAMELoTConfig(num_slots=24, threshold=0.5)).read(random_ids(2, NUM_TOKENS))
    for layer in roomy.layers:
        assert bool((layer.counts.sum(-1) == 4 * SEGMENT_LEN).all()), "nothing was lost"
        assert int((layer.counts > 0).sum(-1).max()) < 4 * SEGMENT_LEN, "something was merged"


@torch.no_grad()
def test_with_room_for_all_and_all_retrieved_it_is_attention_to_the_past():
    ids = random_ids(2, NUM_TOKENS)
    found = attach(backbone("gpt2"), EVERYTHING, SEGMENT_LEN)(ids).logits
    past = WholePastConfig(has_positions=False)
    expected = attach(backbone("gpt2"), past, SEGMENT_LEN)(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    apart = isolated_logits(backbone("gpt2"), ids)
    assert (apart - expected)[:, SEGMENT_LEN:].abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text"])
def test_an_empty_memory_is_the_backbone(family):
    ids = random_ids(2, SEGMENT_LEN)
    found = recurrent(CAMELoTConfig(num_slots=6), family)(ids).logits
    expected = backbone(family)(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_there_is_nothing_to_train():
    assert list(recurrent(CAMELoTConfig()).memory.parameters()) == []


@torch.no_grad()
def test_layers_without_a_memory_are_left_alone():
    model = attach(backbone(), CAMELoTConfig(num_slots=6, layers=(1,)), SEGMENT_LEN)
    state = model.read(random_ids(1, NUM_TOKENS))
    assert [layer.keys.shape[2] for layer in state.layers] == [0, 6]
    assert state.nbytes == state.layers[1].nbytes
    both = attach(backbone(), CAMELoTConfig(num_slots=6), SEGMENT_LEN)
    ids = random_ids(1, NUM_TOKENS)
    assert (model(ids).logits - both(ids).logits).abs().max() > 1e-3


def moved_by_a_change(model, ids, place):
    changed = ids.clone()
    changed[:, place] = (changed[:, place] + 1) % 20 + 3
    return (model(changed).logits - model(ids).logits).abs().amax((0, 2))


def test_the_published_form_retrieves_by_keys_for_all():
    config = CAMELoTConfig.published(num_slots=7, threshold=0.5)
    assert config == CAMELoTConfig(num_slots=7, threshold=0.5, read_by="keys", literal=True)


@torch.no_grad()
def test_the_published_form_sees_the_future_and_says_so():
    ids, place = random_ids(1, NUM_TOKENS), 3 * SEGMENT_LEN - 1
    literal = recurrent(PUBLISHED)
    assert moved_by_a_change(literal, ids, place)[:place].max() > 1e-3
    causal = recurrent(CAMELoTConfig(num_slots=24, threshold=0.9, read_by="keys"))
    moved = moved_by_a_change(causal, ids, place)
    assert moved[:place].sum() == 0
    assert moved[place] > 0
    with pytest.raises(ArmtError, match="before it is read"):
        _ = literal.generate(ids, max_new_tokens=2)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gemma3_text", "gpt2", "gpt_neox", "llama", "qwen3"])
def test_reading_by_keys_generates_as_step_by_step(family):
    config = CAMELoTConfig(num_slots=24, threshold=0.9, read_by="keys", num_reads=2)
    options = {"sliding_window": 3} if family == "gemma3_text" else {}
    model, ids = recurrent(config, family, **options), random_ids(1, SEGMENT_LEN - 1)
    output = model.generate(
        ids,
        max_new_tokens=10,
        do_sample=False,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    whole = model(output.sequences[:, :-1]).logits[:, -10:].float()
    torch.testing.assert_close(torch.stack(output.logits, 1), whole, rtol=1e-5, atol=1e-5)


def test_the_state_is_as_large_as_the_page_says():
    config = CAMELoTConfig(num_slots=10)
    state = config.build(SHAPE).init_state(3)
    assert state.nbytes == 3 * 2 * 10 * (2 * 3 * 4 + 2 * 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_slots": 0}, "num_slots"),
        ({"num_reads": 0}, "num_reads"),
        ({"num_reads": 9, "num_slots": 8}, "at most"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = CAMELoTConfig(**options)


def test_a_wrong_choice_is_told(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match="'values'"):
        _ = CAMELoTConfig(read_by="values")


def test_a_layer_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match="from 0 to 1"):
        _ = CAMELoTConfig(layers=(2,)).build(SHAPE)
