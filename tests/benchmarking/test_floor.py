from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig
from armt.benchmarking.floor import segment_floor
from armt.benchmarking.shapes import build_model
from armt.recurrence.flops import count_flops
from benchmarking.benches import SHAPE

MEMORY = ARMTConfig(d_mem=4, num_memory_tokens=2)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_floor_counts_what_a_built_model_holds(family):
    shape = replace(SHAPE, family=family)
    cpu = torch.device("cpu")
    model = build_model(shape, MEMORY, 8, dtype=torch.bfloat16, device=cpu, seed=0)
    floor = segment_floor(shape, MEMORY)
    weights = [*model.anatomy.layers, *model.memory.mechanisms]
    nbytes = sum(each.nbytes for module in weights for each in module.parameters())
    assert floor.weight_nbytes == nbytes
    assert floor.state_nbytes == 2 * model.init_state(1).nbytes
    assert floor.hidden_nbytes == 2 * 2 * shape.num_layers * (8 + 2) * shape.d_model
    assert floor.flops == count_flops(model)


def test_the_least_time_is_of_operations_or_of_bytes():
    floor = segment_floor(SHAPE, MEMORY)
    assert floor.seconds(1.0, float("inf")) == floor.flops.total
    assert floor.seconds(float("inf"), 1.0) == floor.nbytes
    assert floor.intensity == pytest.approx(floor.flops.total / floor.nbytes)
