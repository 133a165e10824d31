"""Infini-attention against its equations, written anew here as loops over tokens and heads."""

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch

from armt.core.errors import ConfigError
from armt.core.layer_shape import LayerShape
from armt.memories.infini import InfiniConfig
from tiny import random_ids, recurrent, rough_memory

D_MODEL = 6
SHAPE = LayerShape(d_model=D_MODEL, num_heads=2, num_kv_heads=1, head_dim=3)
DOUBLE = torch.float64
CONFIGS = {
    "default": InfiniConfig(num_heads=2, d_mem=8),
    "published": InfiniConfig.published(num_heads=2, d_mem=8),
    "sum_in_order": InfiniConfig(num_heads=1, d_mem=4, normalizer="sum"),
}


@pytest.fixture(params=sorted(CONFIGS))
def memory(request):
    return rough_memory(CONFIGS[request.param], SHAPE)


class Literal:
    """One row of a batch, head by head and token by token."""

    def __init__(self, memory):
        self.memory, self.config = memory, memory.config
        heads, width = self.config.num_heads, self.config.d_mem
        self.matrices = [torch.zeros(width // heads, D_MODEL // heads, dtype=DOUBLE)] * heads
        self.sums = [torch.zeros(width // heads, dtype=DOUBLE)] * heads

    def features(self, vector):
        found = [v + 1 if v > 0 else math.exp(v) for v in vector.tolist()]
        is_unit = self.config.normalizer == "none"
        length = math.sqrt(sum(f * f for f in found)) if is_unit else 1.0
        return torch.tensor(found, dtype=DOUBLE) / length

    def head(self, vector, index):
        size = len(vector) // self.config.num_heads
        return vector[index * size : (index + 1) * size]

    def look_up(self, key, matrix, total):
        found = key @ matrix
        return found if self.config.normalizer == "none" else found / (key @ total + 1e-5)

    def read(self, x):
        found = []
        for h in range(self.config.num_heads):
            query = self.features(self.head(self.memory.to_query(x), h))
            gate = 1 / (1 + math.exp(-float(self.memory.gate[h])))
            found.append(gate * self.look_up(query, self.matrices[h], self.sums[h]))
        return x + self.memory.to_output.weight @ torch.cat(found)

    def write(self, segment):
        old = list(self.matrices), list(self.sums)
        for x in segment:
            if self.config.write_order == "sequential":
                old = list(self.matrices), list(self.sums)
            for h in range(self.config.num_heads):
                key = self.features(self.head(self.memory.to_key(x), h))
                value = self.head(self.memory.to_value(x), h)
                missing = value - self.look_up(key, old[0][h], old[1][h])
                self.matrices[h] = self.matrices[h] + torch.outer(key, missing)
                self.sums[h] = self.sums[h] + key


@torch.no_grad()
def test_it_equals_the_plain_loops(memory):
    segments = torch.randn(3, 2, 7, D_MODEL, dtype=DOUBLE)
    queries = torch.randn(2, 5, D_MODEL, dtype=DOUBLE)
    state, rows = memory.init_state(2), [Literal(memory) for _ in range(2)]
    for segment in segments:
        state = memory.write(segment, state)
        found = memory.read(queries, state)
        for row, literal in enumerate(rows):
            literal.write(segment[row])
            matrix = torch.stack(literal.matrices)
            torch.testing.assert_close(state.association[row], matrix, rtol=1e-8, atol=1e-9)
            expected = torch.stack([literal.read(query) for query in queries[row]])
            torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-9)
            if memory.config.normalizer == "sum":
                total = torch.stack(literal.sums)
                torch.testing.assert_close(state.key_sum[row], total)


def test_every_token_of_the_text_writes():
    model, ids = recurrent(CONFIGS["default"]), random_ids(1, 4)
    assert model.memory.num_tokens == 0
    whole = model.read(ids).layers[0].association
    for place in range(4):
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 1) % 20 + 3
        assert not torch.allclose(model.read(changed).layers[0].association, whole)


def test_an_empty_memory_reads_nothing(memory):
    hidden = torch.randn(2, 5, D_MODEL, dtype=DOUBLE)
    torch.testing.assert_close(memory.read(hidden, memory.init_state(2)), hidden, rtol=0, atol=0)


def test_a_fresh_memory_has_gates_of_one_half_and_changes_nothing():
    memory = InfiniConfig().build(replace(SHAPE, d_model=8))
    assert torch.equal(torch.sigmoid(memory.gate), torch.full((4,), 0.5))
    hidden = torch.randn(1, 5, 8)
    state = memory.write(hidden, memory.init_state(1))
    assert state.association.abs().max() > 0
    torch.testing.assert_close(memory.read(hidden, state), hidden, rtol=0, atol=0)


def test_the_published_form_divides_by_the_sum_and_writes_all_at_once():
    assert InfiniConfig.published() == InfiniConfig(normalizer="sum", write_order="parallel")


def test_a_closed_gate_shuts_its_head():
    memory = rough_memory(CONFIGS["default"], SHAPE)
    hidden = torch.randn(1, 5, D_MODEL, dtype=DOUBLE)
    state = memory.write(hidden, memory.init_state(1))
    with torch.no_grad():
        _ = memory.gate[1].fill_(-math.inf)
    without = state.map(torch.clone)
    _ = without.association[:, 1].zero_()
    torch.testing.assert_close(memory.read(hidden, state), memory.read(hidden, without))
    with torch.no_grad():
        _ = memory.gate.fill_(-math.inf)
    torch.testing.assert_close(memory.read(hidden, state), hidden, rtol=0, atol=0)


@torch.no_grad()
def test_writing_a_key_again_replaces_its_value():
    memory = rough_memory(InfiniConfig(num_heads=1, d_mem=4), SHAPE)
    memory.to_query.weight = memory.to_key.weight
    token, state = torch.randn(1, 1, D_MODEL, dtype=DOUBLE), memory.init_state(1)
    other = torch.randn(1, 5, D_MODEL, dtype=DOUBLE)
    state = memory.write(token, memory.write(other, memory.write(token, state)))
    key = memory._features(memory.to_key(token))
    torch.testing.assert_close(
        (key @ state.association).squeeze(1), memory.to_value(token), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_state_has_at_least_single_precision(name, dtype):
    memory, hidden = rough_memory(CONFIGS[name], SHAPE, dtype), torch.randn(2, 4, D_MODEL).to(dtype)
    state = memory.write(hidden, memory.write(hidden, memory.init_state(2)))
    expected = torch.promote_types(dtype, torch.float32)
    assert {value.dtype for value in state.tensors().values()} == {expected}
    assert memory.read(hidden, state).dtype == dtype


def test_autocast_keeps_the_state_in_single_precision():
    memory = rough_memory(CONFIGS["default"], SHAPE, torch.float32)
    hidden = torch.randn(2, 4, D_MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        state = memory.write(hidden, memory.init_state(2))
        found = memory.read(hidden, state)
    assert state.association.dtype == found.dtype == torch.float32
    exact = memory.read(hidden, memory.write(hidden, memory.init_state(2)))
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_state_has_the_size_that_is_told(name):
    config = CONFIGS[name]
    state, heads = config.build(SHAPE).init_state(3), config.num_heads
    features = config.d_mem // heads
    assert state.association.shape == (3, heads, features, D_MODEL // heads)
    assert state.key_sum.shape == (3, heads, features if config.normalizer == "sum" else 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"d_mem": 0}, "d_mem"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_heads": 3, "d_mem": 8}, "divide `d_mem`"),
        ({"num_heads": 4, "d_mem": 8}, "backbone's width"),
    ],
)
def test_wrong_numbers_are_told(options, said):
    with pytest.raises(ConfigError, match=said):
        _ = InfiniConfig(**options).build(SHAPE)


@pytest.mark.parametrize("name", ["normalizer", "write_order"])
def test_wrong_choices_are_told(name, monkeypatch):
    with pytest.raises(ConfigError, match=name):
        _ = InfiniConfig.from_dict({name: "odd"})
    # The checker of shapes would object to the type first; outside tests there is none.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=name):
        _ = InfiniConfig(**{name: "odd"})
