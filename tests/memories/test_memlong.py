"""MemLong: what is kept, what is found, who sees it, and the leak of the published form."""

import dataclasses
import importlib.util

import pytest
import torch

from armt import attach
from armt.core.errors import ArmtError, ConfigError, MissingExtraError, UnknownNameError
from armt.core.layer_shape import LayerShape
from armt.memories.memlong import (
    EMBEDDERS,
    MemLongConfig,
    MemLongState,
    bag_of_tokens,
    best_passages,
)
from armt.ops import inner_products
from armt.recurrence.choose_schedule import wave_obstacle
from armt.recurrence.pretrained import load_memory
from armt.recurrence.state_file import load_state, save_state
from tiny import (
    SEGMENT_LEN,
    assert_rows_that_read_unequally_are_apart,
    assert_same_state,
    backbone,
    isolated_logits,
    random_ids,
    recurrent,
)
from whole_past import WholePastConfig

DOUBLE = torch.float64
NUM_TOKENS = 4 * SEGMENT_LEN + 2
SHAPE = LayerShape(d_model=8, num_heads=4, num_kv_heads=2, head_dim=3, index=0, num_layers=1)
LOW = {"memory_layer": 0, "retrieval_layers": (0, 1)}
SMALL = MemLongConfig(passage_len=2, num_passages=2, memory_len=64, **LOW)
HAS_FAISS = importlib.util.find_spec("faiss") is not None
NEEDS_FAISS = pytest.mark.skipif(not HAS_FAISS, reason="faiss is an extra")


def layer(number, num_layers):
    return dataclasses.replace(SHAPE, index=number, num_layers=num_layers)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("passage_len", [1, 2, 3, 4, 9])
def test_with_all_passages_found_it_is_attention_to_the_whole_past(family, passage_len):
    one = {"n_layer": 1} if family == "gpt2" else {"num_hidden_layers": 1}
    ids = random_ids(2, NUM_TOKENS)
    config = MemLongConfig(
        passage_len=passage_len, num_passages=99, memory_layer=0, retrieval_layers=(0,)
    )
    found = attach(backbone(family, **one), config, SEGMENT_LEN)(ids).logits
    past = WholePastConfig(has_positions=False)
    expected = attach(backbone(family, **one), past, SEGMENT_LEN)(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    apart = isolated_logits(backbone(family, **one), ids)
    assert (apart - expected)[:, SEGMENT_LEN:].abs().max() > 1e-2


@torch.no_grad()
def test_what_is_kept_are_the_keys_and_values_of_the_passages():
    ids, passage_len = random_ids(2, NUM_TOKENS), 3
    config = dataclasses.replace(SMALL, passage_len=passage_len)
    kept = attach(backbone(), config, SEGMENT_LEN).read(ids).layers
    past = attach(backbone(), WholePastConfig(has_positions=False), SEGMENT_LEN).read(ids).layers
    assert isinstance(kept[0], MemLongState)
    assert kept[0].lengths.tolist() == [[3, 1] * 4] * 2
    for name in ("keys", "values"):
        own = getattr(kept[0], name)
        text = own.movedim(1, 2).flatten(2, 3)
        is_token = torch.tensor([True, True, True, True, False, False] * 4)
        expected = getattr(past[0], name)[:, :, -4 * SEGMENT_LEN :]
        torch.testing.assert_close(text[:, :, is_token], expected, rtol=1e-12, atol=1e-12)
        assert not text[:, :, ~is_token].any()
    passages = [ids[:, 12:15], ids[:, 15:16]]
    torch.testing.assert_close(kept[0].vectors[:, -2], bag_of_tokens(passages[0]))
    torch.testing.assert_close(kept[0].query, bag_of_tokens(passages[1]))
    assert kept[1].nbytes == kept[1].query.nbytes, "one layer keeps them for all"


def test_the_best_are_those_of_a_sort_in_the_order_of_the_text():
    vectors, query = torch.randn(3, 7, 5), torch.randn(3, 5)
    lengths = torch.tensor([[2] * 7, [2, 2, 2, 0, 0, 0, 0], [1, 2, 2, 2, 2, 0, 0]])
    nothing = torch.zeros(3, 7, 1, 2, 3)
    state = MemLongState(nothing, nothing, vectors, lengths, query)
    for number in (1, 3, 7, 20):
        config = dataclasses.replace(SMALL, num_passages=number)
        found = best_passages(query, state, config)
        for row in range(3):
            stored = [place for place in range(7) if lengths[row, place]]
            scores = {place: float(vectors[row, place] @ query[row]) for place in stored}
            best = sorted(sorted(stored, key=lambda place, s=scores: -s[place])[:number])
            own = [place for place in found[row].tolist() if lengths[row, place]]
            assert own == best


@torch.no_grad()
def test_a_passage_that_is_not_found_changes_nothing():
    model, ids = recurrent(SMALL), random_ids(1, SEGMENT_LEN)
    state = model.read(random_ids(1, 4 * SEGMENT_LEN, seed=5))
    expected = model(ids, state=state).logits
    found = best_passages(state.layers[0].query, state.layers[0], SMALL)[0].tolist()
    for place in range(8):
        keys = state.layers[0].keys.clone()
        keys[:, place] += 1.0
        other = dataclasses.replace(state.layers[0], keys=keys)
        logits = model(ids, state=state.with_layers((other, state.layers[1]))).logits
        assert torch.equal(logits, expected) == (place not in found)


@torch.no_grad()
def test_retrieval_layers_read_the_memory_layers_state():
    config = dataclasses.replace(SMALL, retrieval_layers=(2,))
    model = recurrent(config, num_hidden_layers=3)
    assert [memory.source for memory in model.memory.mechanisms] == [None, None, 0]
    assert [memory.is_written for memory in model.memory.mechanisms] == [True, False, False]
    states, hidden = [model.read(random_ids(1, 8, seed=seed)) for seed in (5, 6)], []
    for each in model.anatomy.layers:
        _ = each.register_forward_hook(lambda _layer, _args, out: hidden.append(out))
    for state in states:
        _ = model(random_ids(1, 3), state=state)
    moved = [float((a - b).abs().max()) for a, b in zip(hidden[:3], hidden[3:], strict=True)]
    assert moved[:2] == [0.0, 0.0]
    assert moved[2] > 1e-6


@pytest.mark.parametrize("passage_len", [1, 2, 3, 4])
@pytest.mark.parametrize("memory_len", [4, 7, 10])
def test_the_oldest_passages_go_first_whatever_their_number(passage_len, memory_len):
    config = dataclasses.replace(SMALL, passage_len=passage_len, memory_len=memory_len)
    model, whole = recurrent(config), recurrent(dataclasses.replace(config, memory_len=999))
    ids = random_ids(2, 20 * SEGMENT_LEN)
    state, everything = model.init_state(2), whole.init_state(2)
    for part in ids.split(SEGMENT_LEN, dim=1):
        state, everything = model.read(part, state), whole.read(part, everything)
        kept, all_of_it = state.layers[0].tensors(), everything.layers[0].tensors()
        number = min(memory_len // passage_len, all_of_it["lengths"].shape[1])
        for name, value in kept.items():
            last = all_of_it[name] if name == "query" else all_of_it[name][:, -number:]
            assert torch.equal(value, last), name
        assert int(kept["lengths"].sum(-1).max()) <= memory_len


@torch.no_grad()
def test_rows_may_have_read_unequally_much():
    lengths = [6 * SEGMENT_LEN, SEGMENT_LEN, 3 * SEGMENT_LEN + 1]
    assert_rows_that_read_unequally_are_apart(recurrent(SMALL), lengths)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3_text"])
def test_before_anything_is_kept_it_is_the_backbone(family):
    ids = random_ids(2, SEGMENT_LEN)
    found = recurrent(SMALL, family)(ids).logits
    expected = backbone(family)(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_frozen_lower_layers_make_the_same_keys_after_a_step():
    config = dataclasses.replace(SMALL, memory_layer=1, retrieval_layers=(1, 2))
    model, ids = recurrent(config, num_hidden_layers=3).train(), random_ids(2, NUM_TOKENS)
    before = model.read(ids).layers[1]
    for is_frozen in (True, False):
        for part in (model.get_input_embeddings(), *model.anatomy.layers[:2]):
            _ = part.requires_grad_(not is_frozen)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
        model(ids, labels=ids).loss.backward()
        _ = optimizer.step(), optimizer.zero_grad()
        assert torch.equal(model.read(ids).layers[1].keys, before.keys) == is_frozen


def moved_by_a_change(model, ids, place):
    changed = ids.clone()
    changed[:, place] = (changed[:, place] + 1) % 20 + 3
    return (model(changed).logits - model(ids).logits).abs().amax((0, 2))


@torch.no_grad()
def test_the_published_form_chooses_by_the_future_and_says_so():
    ids = random_ids(1, NUM_TOKENS)
    few = dataclasses.replace(SMALL, num_passages=1)
    literal = recurrent(dataclasses.replace(few, literal=True))
    places = range(3 * SEGMENT_LEN + 1, 4 * SEGMENT_LEN)
    leaks = [moved_by_a_change(literal, ids, place)[:place].max() for place in places]
    assert max(leaks) > 1e-3
    assert all(moved_by_a_change(recurrent(few), ids, place)[:place].max() == 0 for place in places)
    with pytest.raises(ArmtError, match="before it is read"):
        _ = literal.generate(ids, max_new_tokens=2)


def test_texts_that_share_tokens_have_high_products():
    first, second = random_ids(1, 64), random_ids(1, 64, seed=2) + 1000
    mixed = torch.cat([first[:, :32], second[:, :32]], dim=1)
    vectors = torch.cat([bag_of_tokens(ids) for ids in (first, second, mixed)])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    products = vectors @ vectors.T
    assert products[0, 1] < 0.3
    assert products[0, 2] > 0.55
    assert torch.equal(bag_of_tokens(first), bag_of_tokens(first.flip(1)))


def test_any_callable_embeds_under_a_name(monkeypatch):
    calls = []

    def first_token(ids):
        calls.append(tuple(ids.shape))
        return torch.nn.functional.one_hot(ids[:, 0], 40).half()

    monkeypatch.setattr(EMBEDDERS, "_cards", dict(EMBEDDERS._cards))
    _ = EMBEDDERS.register("first_token")(first_token)
    model = recurrent(dataclasses.replace(SMALL, embedder="first_token", passage_len=3))
    state = model.read(random_ids(2, SEGMENT_LEN))
    assert state.layers[0].vectors.shape == (2, 2, 40)
    assert {(2, 3), (2, 1)} <= set(calls)


def test_a_saved_memory_whose_embedder_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(EMBEDDERS._cards, "mine", EMBEDDERS["token_bag"])
    model = recurrent(dataclasses.replace(SMALL, embedder="mine"))
    model.save_memory(tmp_path)
    _ = load_memory(backbone(), tmp_path)
    monkeypatch.delitem(EMBEDDERS._cards, "mine")
    base = backbone()
    with pytest.raises(UnknownNameError, match="Unknown embedder 'mine'"):
        _ = load_memory(base, tmp_path)
    assert not hasattr(base, "memory")


@NEEDS_FAISS
@torch.no_grad()
def test_both_indices_find_the_same_and_read_each_others_states(tmp_path):
    by_torch = recurrent(SMALL)
    by_faiss = recurrent(dataclasses.replace(SMALL, index="faiss"))
    ids, path = random_ids(3, 9 * SEGMENT_LEN), tmp_path / "state.safetensors"
    mask = torch.ones_like(ids)
    for row, length in enumerate([9 * SEGMENT_LEN, 2 * SEGMENT_LEN, 5 * SEGMENT_LEN]):
        mask[row, : ids.shape[1] - length] = 0
    outputs = [model(ids, attention_mask=mask) for model in (by_torch, by_faiss)]
    assert outputs[0].state.layers[0].lengths.gt(0).sum(1).tolist() == [18, 4, 10]
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, rtol=1e-12, atol=1e-12)
    for writer, reader, output in zip(
        (by_torch, by_faiss), (by_faiss, by_torch), outputs, strict=True
    ):
        save_state(path, output.state, writer)
        assert_same_state(load_state(path, reader), output.state)
        more = [model(ids[:, :9], state=load_state(path, model)) for model in (writer, reader)]
        torch.testing.assert_close(more[0].logits, more[1].logits, rtol=1e-12, atol=1e-12)


def test_a_missing_index_is_told_before_the_backbone_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(inner_products, "find_spec", lambda name: None)
    base, config = backbone(), dataclasses.replace(SMALL, index="faiss")
    with pytest.raises(MissingExtraError, match=r"pip install 'armt\[faiss\]'"):
        _ = attach(base, config, SEGMENT_LEN)
    assert not hasattr(base, "memory")
    assert attach(base, SMALL, SEGMENT_LEN).memory.config == SMALL


def test_it_does_not_ride_in_waves():
    assert "grows" in wave_obstacle(recurrent(SMALL))


@pytest.mark.parametrize(
    ("num_layers", "memory", "retrieval"), [(26, 13, (13, 17, 21, 25)), (6, 3, (3,)), (1, 0, (0,))]
)
def test_by_default_every_fourth_layer_reads_from_the_middle_up(num_layers, memory, retrieval):
    assert MemLongConfig().roles(num_layers) == (memory, retrieval)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passage_len": 0}, "passage_len"),
        ({"num_passages": 0}, "num_passages"),
        ({"memory_len": 100}, "at least one passage of 128"),
        ({"index": "annoy"}, "one of 'torch', 'faiss'. Got 'annoy'"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = MemLongConfig.from_dict(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_layer": 3}, "from 0 to 2"),
        ({"memory_layer": 1, "retrieval_layers": (0, 2)}, "from 1, the memory layer, to 2"),
        ({"retrieval_layers": ()}, r"Got \(\)"),
        ({"retrieval_layers": (3,)}, "to 2"),
    ],
)
def test_layers_that_are_not_there_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = MemLongConfig(**options).build(layer(0, 3))
