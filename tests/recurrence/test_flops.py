"""Operations by formula equal those that torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from armt import ARMTConfig, attach
from armt.core.registry import MEMORIES as CARDS
from armt.recurrence.flops import count_flops
from tiny import backbone, random_ids
from whole_past import WholePastConfig

MEMORIES = {card.name: card.tiny for card in CARDS} | {
    "armt_published": ARMTConfig.published(num_memory_tokens=3, d_mem=4),
    "whole_past": WholePastConfig(num_memory_tokens=3),
}


WITHOUT_PRODUCTS = {"memlong", "none", "prmt", "rmt"}
"""Memories that leave all work to the backbone, or have nothing to do while they are empty."""


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "phi3"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_the_formula_is_what_torch_counts(family, memory):
    base = backbone(family)
    base.set_attn_implementation("eager")  # plain products, which torch counts on every device
    model = attach(base, MEMORIES[memory], segment_len=10)
    flops = count_flops(model)
    assert flops.total == flops.matrices + flops.attention + flops.memory
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _ = model.read(random_ids(1, 10))
    assert flops.total == counter.get_total_flops() > 0
    assert (flops.memory > 0) == (memory not in WITHOUT_PRODUCTS)
