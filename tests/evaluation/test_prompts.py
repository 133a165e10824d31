"""Questions of a task's own tokens, asked with the memory and without."""

import pytest
import torch

from armt import ARMTConfig, attach
from armt.backbones.tiny import TinyBackboneConfig
from armt.evaluation.prompts import forced_score, prompt_score
from armt.tasks.symbols import Prompts
from tiny import roughen

SHAPE = TinyBackboneConfig(d_model=16, num_layers=2, num_heads=2, d_ffn=16, max_positions=16)


@pytest.fixture
def model():
    memory = ARMTConfig(num_memory_tokens=1, d_mem=4)
    found = attach(SHAPE.build(20, seed=0), memory, segment_len=4)
    roughen(found.memory)
    return found


def answers(model, ids: torch.Tensor) -> torch.Tensor:
    """The most likely next token of each row."""
    return model(ids).logits[:, -1:].argmax(-1)


@pytest.mark.parametrize("length", [5, 7, 8, 11])
def test_without_memory_only_the_last_segment_is_known(model, length):
    ids = torch.randint(20, (32, length), generator=torch.Generator().manual_seed(0))
    start = (length - 1) // 4 * 4
    alone = Prompts(ids, answers(model, ids[:, start:]))
    whole = Prompts(ids, answers(model, ids))
    assert prompt_score(model, alone, use_memory=False).accuracy == 1
    assert prompt_score(model, whole).accuracy == 1
    assert prompt_score(model, whole, use_memory=False).accuracy < 1


def test_forced_answers_are_counted_token_by_token(model):
    ids = torch.randint(20, (16, 9), generator=torch.Generator().manual_seed(0))
    first = answers(model, ids)
    second = answers(model, torch.cat([ids, first], dim=1))
    right = Prompts(ids, torch.cat([first, second], dim=1))
    assert tuple(forced_score(model, right)) == (32, 32)
    half = Prompts(ids, torch.cat([first, (second + 1) % 20], dim=1))
    assert tuple(forced_score(model, half)) == (16, 32)
