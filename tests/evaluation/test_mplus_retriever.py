"""What the retriever of M+ finds of the segment that a question is about."""

import pytest
import torch

from armt.core.errors import ConfigError
from armt.evaluation.mplus_retriever import retrieved_by_layer
from armt.memories.armt import ARMTConfig
from armt.memories.mplus import MPlusConfig, best_places
from tiny import SEGMENT_LEN, random_ids, recurrent


def model_of(**changes):
    options = {"num_memory_tokens": 2, "num_slots": 3, "num_retrieved": 4, "d_retriever": 4}
    return recurrent(MPlusConfig(**(options | changes)))


@pytest.mark.parametrize("segment", [0, 2, 5])
def test_the_tokens_of_a_segment_are_counted_among_what_is_handed_out(segment):
    model, ids = model_of(), random_ids(3, 7 * SEGMENT_LEN)
    state = model.read(ids)
    found = retrieved_by_layer(model, ids, segment)
    assert len(found) == len(state.layers)
    for mechanism, layer, retrieved in zip(
        model.memory.mechanisms, state.layers, found, strict=True
    ):
        own = [2 * segment + 1, 2 * segment + 2]
        asked = mechanism.to_query(layer.queries)
        places = best_places(asked, layer, 4)
        handed = [
            layer.long_numbers[row, place].item() for row in range(3) for place in places[row]
        ]
        there = layer.long_numbers.flatten().tolist()
        assert retrieved.wanted == (
            sum(number in own for number in handed),
            sum(number in own for number in there),
        )
        assert retrieved.every == (3 * 4, 3 * (2 * 7 - 3))


def test_where_all_is_handed_out_all_is_found():
    found = retrieved_by_layer(model_of(num_retrieved=50), random_ids(2, 6 * SEGMENT_LEN), 0)
    assert all(each.wanted.accuracy == each.every.accuracy == 1.0 for each in found)
    assert all(each.wanted.num_samples > 0 for each in found)


@pytest.mark.parametrize(
    ("config", "num_tokens", "reason"),
    [
        (ARMTConfig(num_memory_tokens=2, d_mem=4), SEGMENT_LEN, "Only M\\+ has this retriever"),
        (MPlusConfig(num_memory_tokens=2, num_slots=3), SEGMENT_LEN + 1, "after whole segments"),
        (
            MPlusConfig(num_memory_tokens=2, num_slots=3, literal=True),
            SEGMENT_LEN,
            "own text decides",
        ),
    ],
)
def test_what_has_no_such_retriever_is_refused(config, num_tokens, reason):
    with pytest.raises(ConfigError, match=reason), torch.no_grad():
        _ = retrieved_by_layer(recurrent(config), random_ids(1, num_tokens), 0)
