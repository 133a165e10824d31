"""M+: nothing is lost before the capacity is reached; the retriever finds what scores highest."""

import dataclasses

import pytest
import torch
from torch import nn

from armt import attach
from armt.core.contract import Lookup, Written
from armt.core.errors import ArmtError, ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.memoryllm import MemoryLLMConfig
from armt.memories.mplus import MPlusConfig, best_places
from armt.recurrence.choose_schedule import wave_obstacle
from tiny import (
    SEGMENT_LEN,
    assert_rows_that_read_unequally_are_apart,
    backbone,
    random_ids,
    recurrent,
)
from whole_past import WholePastConfig

DOUBLE = torch.float64
SHAPE = LayerShape(d_model=8, num_heads=4, num_kv_heads=2, head_dim=3, index=1, num_layers=2)
NUM_TOKENS = 5 * SEGMENT_LEN + 2
SMALL = MPlusConfig(num_memory_tokens=2, num_slots=5, num_retrieved=3, d_retriever=4)


def new_tokens(first, num_rows=3, number=2):
    """Tokens whose keys and values say which they are."""
    keys = torch.arange(first, first + number, dtype=DOUBLE).view(1, 1, -1, 1)
    keys = keys.expand(num_rows, 2, -1, 3)
    queries = torch.randn(num_rows, 4, number, 3, dtype=DOUBLE)
    return Written(queries, keys, -keys, None)


def written(memory, num_segments, num_rows=3):
    state = memory.init_state(num_rows)
    for segment in range(num_segments):
        state = memory.write(new_tokens(2 * segment + 1, num_rows), state)
    return state


def in_pool(state, row=0):
    return [number for number in state.numbers[row].tolist() if number]


def remembered(state, row=0):
    return [number for number in state.long_numbers[row].tolist() if number]


@pytest.mark.parametrize("num_segments", [0, 1, 2, 3, 7, 30])
def test_nothing_is_lost_before_the_capacity_is_reached(num_segments):
    state = written(SMALL.build(SHAPE).double(), num_segments)
    for row in range(3):
        both = in_pool(state, row) + remembered(state, row)
        assert sorted(both) == list(range(1, 2 * num_segments + 1))
        assert in_pool(state, row) == sorted(in_pool(state, row))
        assert remembered(state, row) == sorted(remembered(state, row))
    assert len(in_pool(state)) == min(5, 2 * num_segments)
    assert in_pool(state)[-2:] == list(range(1, 2 * num_segments + 1))[-2:]


def test_what_is_remembered_are_keys_and_values_as_they_were():
    memory = SMALL.build(SHAPE).double()
    state = written(memory, 12)
    numbers = state.long_numbers.double()[:, :, None, None].expand_as(state.long_keys)
    assert torch.equal(state.long_keys, numbers)
    assert torch.equal(state.long_values, -numbers)
    vectors = memory.to_key(numbers.flatten(2))
    torch.testing.assert_close(state.long_vectors, vectors, rtol=1e-12, atol=1e-12)
    in_use = state.numbers.double()[:, None, :, None].expand_as(state.keys)
    assert torch.equal(state.keys, in_use)


@pytest.mark.parametrize("capacity", [1, 4, 7])
def test_beyond_the_capacity_the_oldest_are_lost(capacity):
    free = written(SMALL.build(SHAPE).double(), 12)
    held = written(dataclasses.replace(SMALL, capacity=capacity).build(SHAPE).double(), 12)
    assert in_pool(held) == in_pool(free), "the pool forgets alike"
    assert len(remembered(free)) == 24 - 5
    # a token that leaves the pool late is older than some that came before it
    assert len(remembered(held)) == capacity
    assert remembered(held)[-1] == remembered(free)[-1]
    assert set(remembered(held)) <= set(remembered(free))


def naive_score(asked, vector):
    shares = [1 / (1 + torch.exp(-(query @ vector))) for query in asked]
    return torch.stack(shares).mean()


@pytest.mark.parametrize("number", [1, 3, 50])
def test_the_best_are_those_of_a_sort_in_the_order_of_age(number):
    memory = SMALL.build(SHAPE).double()
    state = written(memory, 12)
    asked = torch.randn(3, 2, 4, dtype=DOUBLE)
    found = best_places(asked, state, number)
    for row in range(3):
        scores = [float(naive_score(asked[row], vector)) for vector in state.long_vectors[row]]
        best = sorted(range(len(scores)), key=lambda place, s=scores: -s[place])[:number]
        assert found[row].tolist() == sorted(best)


def test_retrieved_tokens_stand_before_the_pool_with_the_logarithm_of_their_score():
    memory = SMALL.build(SHAPE).double()
    state = written(memory, 12)
    queries, keys = torch.randn(3, 4, 6, 3, dtype=DOUBLE), torch.randn(3, 2, 6, 3, dtype=DOUBLE)
    found = memory.extend(Lookup(queries, keys, torch.ones(3, 6, 6).bool(), 2, None), state)
    assert found.positions.tolist() == list(range(-8, 0))
    asked = memory.to_query(state.queries)
    places = best_places(asked, state, 3)
    for row in range(3):
        numbers = [int(state.long_numbers[row, place]) for place in places[row]]
        assert found.keys[row, 0, :, 0].tolist() == numbers + in_pool(state, row)
        vectors = memory.to_key(found.keys[row, :, :3].transpose(0, 1).flatten(1))
        scores = torch.stack([naive_score(asked[row], vector) for vector in vectors])
        torch.testing.assert_close(found.bias[row, :3], scores.log(), rtol=1e-10, atol=1e-10)
        assert not found.bias[row, 3:].any()
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[:4], expected[4:, -2:] = True, True
    assert torch.equal(found.is_visible, expected.expand(3, 1, -1, -1))


@torch.no_grad()
def test_the_published_form_asks_with_the_text_and_not_with_the_memory_tokens():
    memory = dataclasses.replace(SMALL, literal=True).build(SHAPE).double()
    state, queries = written(memory, 12), torch.randn(3, 4, 6, 3, dtype=DOUBLE)
    keys, is_visible = torch.randn(3, 2, 6, 3, dtype=DOUBLE), torch.ones(3, 6, 6).bool()
    found = memory.extend(Lookup(queries, keys, is_visible, 2, None), state)
    for row in range(3):
        asked = [memory.to_query(queries[row, :, token].flatten()) for token in range(4)]
        scores = [float(naive_score(asked, vector)) for vector in state.long_vectors[row]]
        best = sorted(range(len(scores)), key=lambda place, s=scores: -s[place])[:3]
        numbers = [int(state.long_numbers[row, place]) for place in sorted(best)]
        assert found.keys[row, 0, :3, 0].tolist() == numbers


def test_the_retriever_is_two_maps_with_silu_between_of_all_heads_side_by_side():
    memory, token = SMALL.build(SHAPE).double(), new_tokens(1)
    first, _, second = memory.to_query
    state = memory.write(token, memory.init_state(3))
    x = torch.cat([token.queries[0, head, 1] for head in range(4)])
    assert torch.equal(state.queries[0, 1], x)
    inner = first.weight @ x
    expected = second.weight @ (inner / (1 + torch.exp(-inner)))
    torch.testing.assert_close(memory.to_query(x), expected, rtol=1e-12, atol=1e-12)
    widths = {name: tuple(value.shape) for name, value in memory.named_parameters()}
    assert widths == {
        "to_query.0.weight": (8, 12), "to_query.2.weight": (4, 8),
        "to_key.0.weight": (8, 6), "to_key.2.weight": (4, 8),
    }  # fmt: skip


def test_what_leaves_the_pool_depends_on_seed_layer_and_step_alone():
    first, again = (in_pool(written(SMALL.build(SHAPE).double(), 12)) for _ in range(2))
    assert first == again
    for config, shape in (
        (dataclasses.replace(SMALL, seed=1), SHAPE),
        (SMALL, dataclasses.replace(SHAPE, index=0)),
    ):
        assert in_pool(written(config.build(shape).double(), 12)) != first
    # the same places would leave it each time if chance stood still
    states = [written(SMALL.build(SHAPE).double(), number) for number in range(12)]
    assert len({int(state.chance[0]) for state in states}) == 12


class Constant(nn.Module):
    """A retriever to which everything is alike."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 10.0, dtype=DOUBLE))

    def forward(self, x):
        return self.weight.expand(*x.shape[:-1], -1)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_with_everything_retrieved_it_is_attention_to_all_memory_tokens(family):
    ids = random_ids(2, 3 * SEGMENT_LEN)
    config = MPlusConfig(num_memory_tokens=2, num_slots=2, num_retrieved=9, d_retriever=4)
    model = attach(backbone(family), config, SEGMENT_LEN)
    for memory in model.memory.mechanisms:
        memory.to_query, memory.to_key = Constant(4), Constant(4)
    past = attach(backbone(family), WholePastConfig(num_memory_tokens=2), SEGMENT_LEN)
    _ = past.memory.tokens.copy_(model.memory.tokens)
    # in the third segment the text sees a token that was remembered, and no memory token has yet
    found, expected = model(ids).logits, past(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert model.read(ids).layers[0].long_numbers.tolist() == [[1, 2, 3, 4]] * 2


@torch.no_grad()
def test_while_nothing_was_forgotten_it_is_memoryllm():
    ids = random_ids(2, NUM_TOKENS)
    plus = attach(backbone(), dataclasses.replace(SMALL, num_slots=10), SEGMENT_LEN)
    config = MemoryLLMConfig(num_memory_tokens=2, num_slots=10)
    plain = attach(backbone(), config, SEGMENT_LEN)
    _ = plain.memory.tokens.copy_(plus.memory.tokens)
    torch.testing.assert_close(plus(ids).logits, plain(ids).logits, rtol=1e-12, atol=1e-12)
    small = attach(backbone(), dataclasses.replace(SMALL, num_slots=3), SEGMENT_LEN)
    _ = small.memory.tokens.copy_(plus.memory.tokens)
    assert (small(ids).logits - plain(ids).logits).abs().max() > 1e-3


@torch.no_grad()
def test_an_empty_memory_is_the_backbone():
    ids = random_ids(2, SEGMENT_LEN)
    expected = backbone()(input_ids=ids).logits
    torch.testing.assert_close(recurrent(SMALL)(ids).logits, expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_rows_may_have_read_unequally_much():
    lengths = [9 * SEGMENT_LEN, SEGMENT_LEN, 5 * SEGMENT_LEN + 1]
    assert_rows_that_read_unequally_are_apart(recurrent(SMALL), lengths)


def test_the_loss_of_the_model_trains_the_retriever_however_short_its_gradient():
    ids = random_ids(2, NUM_TOKENS)
    for depth in (None, 0):
        model = recurrent(SMALL, bptt_depth=depth)
        model(ids, labels=ids).loss.backward()
        for memory in model.memory.mechanisms:
            for parameter in (*memory.to_query.parameters(), *memory.to_key.parameters()):
                assert parameter.grad.abs().sum() > 0


def drawn_memory(memory, num_rows, num_slots, maps, generator):
    """A state in whose pool each row's places are of one text, and whose queries ask for it.

    What keys and queries of a text have in common goes through fixed maps, with noise added.
    """
    texts = torch.randn(num_rows, 4, dtype=DOUBLE, generator=generator)
    noises = [torch.randn(num_rows, n, d, dtype=DOUBLE, generator=generator)
              for n, d in ((num_slots, 6), (2, 12))]  # fmt: skip
    found = [(texts @ each).unsqueeze(1) + 0.3 * noise
             for each, noise in zip(maps, noises, strict=True)]  # fmt: skip
    numbers = torch.arange(1, num_slots + 1).expand(num_rows, -1)
    keys = found[0].unflatten(2, (2, 3)).transpose(1, 2)
    fresh = memory.init_state(num_rows)
    return dataclasses.replace(fresh, keys=keys, queries=found[1], numbers=numbers)


@torch.no_grad()
def recall_of_own(memory, drawn):
    """Share of a row's places among what it finds, as many as they are, among those of all rows."""
    vectors = memory.to_key(drawn.keys.transpose(1, 2).flatten(2))
    num_rows, num_slots = vectors.shape[:2]
    everyones = vectors.flatten(0, 1).expand(num_rows, -1, -1)
    numbers = torch.arange(1, everyones.shape[1] + 1).expand(num_rows, -1)
    nothing = everyones.new_zeros(*numbers.shape, 2, 3)
    state = dataclasses.replace(
        drawn,
        long_keys=nothing,
        long_values=nothing,
        long_vectors=everyones,
        long_numbers=numbers,
    )
    found = best_places(memory.to_query(drawn.queries), state, num_slots) // num_slots
    return float((found == torch.arange(num_rows).unsqueeze(1)).double().mean())


def test_its_own_loss_teaches_the_retriever_to_find_what_a_text_wrote():
    generator = torch.Generator().manual_seed(3)
    config = dataclasses.replace(SMALL, num_slots=8, d_retriever=8)
    memory = config.build(SHAPE).double()
    maps = [torch.randn(4, d, dtype=DOUBLE, generator=generator) for d in (6, 12)]
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    unseen = drawn_memory(memory, 16, 8, maps, generator)
    before = recall_of_own(memory, unseen)
    for _ in range(300):
        optimizer.zero_grad()
        memory.own_loss(drawn_memory(memory, 32, 8, maps, generator)).backward()
        _ = optimizer.step()
    assert before < 3 / 16, "a retriever that was taught nothing guesses"
    assert recall_of_own(memory, unseen) > 5 / 16, "five times what guessing finds, as in the paper"


def test_its_own_loss_is_that_of_the_paper():
    memory = SMALL.build(SHAPE).double()
    state = written(memory, 4)
    fresh = memory.init_state(3)
    state = state.where(torch.tensor([True, True, False]), fresh)
    state = dataclasses.replace(state, queries=torch.randn(3, 2, 12, dtype=DOUBLE))
    asked, own, strange = memory.to_query(state.queries), [], []
    for row in range(3):
        for other, kept in ((row, own), ((row - 1) % 3, strange)):
            places = [place for place in range(3) if state.numbers[other, place]]
            vectors = [memory.to_key(state.keys[other, :, place].flatten()) for place in places]
            kept += [naive_score(asked[row], vector) for vector in vectors]
    assert (len(own), len(strange)) == (6, 6), "the newest two, which ask, are left out"
    expected = -torch.stack(own).log().mean() - (1 - torch.stack(strange)).log().mean()
    torch.testing.assert_close(memory.own_loss(state), expected, rtol=1e-10, atol=1e-12)
    assert memory.own_loss(fresh) == 0


def test_its_own_loss_reaches_the_retriever_and_nothing_else():
    model = recurrent(SMALL)
    state = model(random_ids(2, NUM_TOKENS)).state
    for memory, layer in zip(model.memory.mechanisms, state.layers, strict=True):
        memory.own_loss(layer).backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    maps = {name for name, _ in model.named_parameters() if "to_query" in name or "to_key" in name}
    assert reached == maps


def test_its_own_loss_teaches_the_memory_tokens_too_if_it_is_not_cut_off():
    model = recurrent(dataclasses.replace(SMALL, is_loss_cut_off=False))
    ids = random_ids(2, NUM_TOKENS)
    layers = model(ids).state.layers
    for memory, layer in zip(model.memory.mechanisms, layers, strict=True):
        memory.own_loss(layer).backward(retain_graph=True)
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    assert any(name.endswith("tokens") for name in reached)
    assert any("k_proj" in name for name in reached)
    as_published = recurrent(SMALL)
    as_published.load_state_dict(model.state_dict())
    values = [
        each.own_loss(layer)
        for each, layer in zip(as_published.memory.mechanisms, layers, strict=True)
    ]
    for memory, layer, value in zip(model.memory.mechanisms, layers, values, strict=True):
        torch.testing.assert_close(memory.own_loss(layer), value)


def test_one_row_teaches_the_retriever_nothing_and_is_told():
    memory = SMALL.build(SHAPE).double()
    with pytest.raises(ConfigError, match="Got one row: raise `batch_size`"):
        _ = memory.own_loss(written(memory, 4, num_rows=1))


def test_the_published_form_has_no_loss_of_its_own():
    forms = [SMALL, dataclasses.replace(SMALL, literal=True),
             dataclasses.replace(SMALL, num_slots=2)]  # fmt: skip
    assert [form.build(SHAPE).has_own_loss for form in forms] == [True, False, False]


@torch.no_grad()
def test_the_published_form_chooses_by_the_future_and_says_so():
    few, ids = dataclasses.replace(SMALL, num_slots=2), random_ids(1, NUM_TOKENS)
    literal = recurrent(dataclasses.replace(few, literal=True))
    changed, place = ids.clone(), 5 * SEGMENT_LEN - 1
    changed[:, place] = (changed[:, place] + 1) % 20 + 3
    for model, leaks in ((literal, True), (recurrent(few), False)):
        moved = (model(changed).logits - model(ids).logits).abs().amax((0, 2))
        assert (moved[:place].max() > 1e-4) == leaks
        assert moved[place] > 0
    with pytest.raises(ArmtError, match="before it is read"):
        _ = literal.generate(ids, max_new_tokens=2)


def test_the_long_term_memory_is_kept_where_the_option_says():
    state = SMALL.build(SHAPE).to("meta").init_state(2)
    kept = {name: value.device.type for name, value in state.tensors().items()}
    assert {name for name, device in kept.items() if device == "cpu"} == {
        "long_keys", "long_values", "long_vectors", "long_numbers"
    }  # fmt: skip
    beside = dataclasses.replace(SMALL, is_offloaded=False).build(SHAPE).to("meta").init_state(2)
    assert {value.device.type for value in beside.tensors().values()} == {"meta"}


def test_it_does_not_ride_in_waves():
    assert "grows" in wave_obstacle(recurrent(SMALL))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_memory_tokens": 0}, "num_memory_tokens"),
        ({"num_memory_tokens": 9, "num_slots": 8}, "9 of 8"),
        ({"num_retrieved": 0}, "num_retrieved"),
        ({"d_retriever": 0}, "d_retriever"),
        ({"capacity": 0}, "capacity"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = MPlusConfig(**options)
