"""Every memory in every kind of decoder: it carries something on, and nothing back."""

import pytest
import torch

from tiny import SEGMENT_LEN, random_ids

FAMILIES = ["gemma3_text", "gpt2", "gpt_neox", "llama", "qwen3"]
NUM_TOKENS = 3 * SEGMENT_LEN + 2
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@torch.no_grad()
def test_it_reaches_later_segments_and_no_earlier_position(subject, family):
    model, ids = subject.model(family=family), random_ids(1, NUM_TOKENS)
    logits = model(ids).logits
    for place in (0, 2, SEGMENT_LEN, 2 * SEGMENT_LEN - 1, NUM_TOKENS - 1):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 20 + 3
        moved = (model(changed).logits - logits).abs().amax((0, 2))
        assert moved[:place].sum() == 0
        assert moved[place] > 0
        next_segment = (place // SEGMENT_LEN + 1) * SEGMENT_LEN
        assert all((moved[next_segment:] > 1e-9) == subject.has_state)


@torch.no_grad()
def test_generation_equals_step_by_step(subject, family):
    model, ids = subject.model(family=family), random_ids(1, SEGMENT_LEN - 1)
    found = model.generate(
        ids, max_new_tokens=SEGMENT_LEN + 2, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    for _ in range(SEGMENT_LEN + 2):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert found.tolist() == ids.tolist()
