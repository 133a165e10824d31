"""Segments that begin with the end of the one before: as if the text itself said it twice."""

import copy
from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig, attach
from armt.core.errors import ConfigError, DataError
from armt.core.registry import MEMORIES as ALL_MEMORIES
from armt.memories.lm2 import LM2Config
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.state_file import load_state, save_state
from tiny import SEGMENT_LEN, assert_same_state, backbone, random_ids, recurrent

OVERLAP_LEN = 2
STRIDE = SEGMENT_LEN - OVERLAP_LEN
MEMORIES = {
    "armt": ARMTConfig(num_memory_tokens=2, d_mem=4),
    "rmt": RMTConfig(num_memory_tokens=2),
    "lm2": LM2Config(num_slots=3, num_heads=2),
}
CLOSE = {"rtol": 1e-9, "atol": 1e-11}
LENGTHS = (1, OVERLAP_LEN, SEGMENT_LEN - 1, SEGMENT_LEN, SEGMENT_LEN + 1, SEGMENT_LEN + STRIDE, 31)


def overlapping(model, schedule="sequential"):
    """The same model with segments that overlap."""
    twin = copy.deepcopy(model)
    twin.recurrence = replace(model.recurrence, overlap_len=OVERLAP_LEN, schedule=schedule)
    return twin


def said_twice(ids):
    """The text with the end of each whole segment again, and where each token of it stands."""
    row, places = [], []
    for token in ids.T:
        places.append(len(row))
        row.append(token)
        if len(row) % SEGMENT_LEN == 0:
            row += row[-OVERLAP_LEN:]
    return torch.stack(row, dim=1), torch.tensor(places)


@pytest.fixture(params=sorted(MEMORIES))
def model(request):
    return recurrent(MEMORIES[request.param])


@pytest.mark.parametrize("card", list(ALL_MEMORIES), ids=lambda card: card.name)
def test_every_memory_reads_the_end_of_a_segment_twice(card):
    model = recurrent(card.tiny)
    ids = random_ids(2, 3 * SEGMENT_LEN + 1)
    expected, found = model.read(said_twice(ids)[0]), overlapping(model).read(ids)
    assert_same_state(replace(found, num_tokens=expected.num_tokens), expected, **CLOSE)


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_it_is_the_text_that_says_the_end_of_a_segment_twice(num_tokens, schedule):
    model = recurrent(MEMORIES["armt"])
    ids = random_ids(3, num_tokens)
    text, places = said_twice(ids)
    # of a token that stands twice the first one is where its own logits are asked for
    expected = model(text)
    found = overlapping(model, schedule)(ids)
    torch.testing.assert_close(found.logits, expected.logits[:, places], **CLOSE)
    state = replace(found.state, num_tokens=expected.state.num_tokens)
    assert_same_state(state, expected.state, **CLOSE)
    assert found.state.num_tokens.tolist() == [num_tokens] * 3


def test_the_loss_is_that_of_every_token_once(model):
    ids = random_ids(2, 3 * SEGMENT_LEN + 1)
    text, places = said_twice(ids)
    labels = torch.full_like(text, -100)
    labels[:, places] = ids
    expected, found = model(text, labels=labels), overlapping(model)(ids, labels=ids)
    torch.testing.assert_close(found.loss, expected.loss, **CLOSE)
    assert found.num_labels == expected.num_labels == ids[:, 1:].numel()


def test_rows_of_different_length_do_not_see_each_other(model):
    lengths = (3, SEGMENT_LEN, SEGMENT_LEN + STRIDE + 1)
    ids, mask = random_ids(3, max(lengths)), torch.zeros(3, max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, -length:] = 1
    twin = overlapping(model)
    together = twin(ids, attention_mask=mask)
    for row, length in enumerate(lengths):
        alone = twin(ids[row : row + 1, -length:])
        torch.testing.assert_close(together.logits[row, -length:], alone.logits[0], **CLOSE)
        state = together.state.select_rows(torch.tensor([row]))
        num_pending = int(alone.state.num_pending[0])
        assert state.num_pending.tolist() == [num_pending]
        assert state.num_tokens.tolist() == [length]
        assert torch.equal(state.pending[:, :num_pending], alone.state.pending)
        assert_same_state(replace(state, pending=alone.state.pending), alone.state, **CLOSE)


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("cut", [1, STRIDE, SEGMENT_LEN, SEGMENT_LEN + STRIDE, 25])
def test_a_text_may_be_read_in_any_pieces(tmp_path, cut, schedule):
    model = overlapping(recurrent(MEMORIES["armt"]), schedule)
    ids = random_ids(2, 40)
    whole, expected = model.read(ids), model(ids).state
    assert_same_state(whole, expected, **CLOSE)
    save_state(tmp_path / "state", model.read(ids[:, :cut]), model)
    state = load_state(tmp_path / "state", model)
    assert_same_state(model.read(ids[:, cut:], state), whole, **CLOSE)
    assert_same_state(model.read(iter(ids.split(3, dim=1))), whole, **CLOSE)


@pytest.mark.parametrize("num_read", [0, SEGMENT_LEN, SEGMENT_LEN + 3])
@pytest.mark.parametrize("prompt_len", [1, STRIDE, SEGMENT_LEN, 2 * SEGMENT_LEN + 1])
@torch.no_grad()
def test_what_is_generated_equals_the_plain_loop(model, num_read, prompt_len):
    twin, num_new = overlapping(model).eval(), 2 * SEGMENT_LEN
    state = twin.read(random_ids(2, num_read), twin.init_state(2))
    prompt = ids = random_ids(2, prompt_len, seed=2)
    for _ in range(num_new):
        last = twin(ids, state=state).logits[:, -1]
        ids = torch.cat([ids, last.argmax(-1, keepdim=True)], dim=1)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = twin.generate(
        prompt, state=state, max_new_tokens=num_new, return_dict_in_generate=True, **options
    )
    assert torch.equal(found.sequences, ids)
    after = found.past_key_values.state
    assert_same_state(after, twin(ids[:, :-1], state=state).state, **CLOSE)


def test_a_model_is_saved_with_its_overlap(tmp_path):
    model = overlapping(recurrent(MEMORIES["armt"]))
    model.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).recurrence.overlap_len == OVERLAP_LEN


def test_attach_takes_an_overlap():
    model = attach(backbone(), MEMORIES["armt"], segment_len=8, overlap_len=3)
    assert model.recurrence == RecurrenceConfig(segment_len=8, overlap_len=3)


@pytest.mark.parametrize("overlap_len", [-1, 8, 9])
def test_a_segment_must_bring_something_new(overlap_len):
    with pytest.raises(ConfigError, match=rf"less than `segment_len` \(8\). Got {overlap_len}"):
        _ = RecurrenceConfig(segment_len=8, overlap_len=overlap_len)


def test_no_text_is_carried_from_step_to_step(model):
    ids = random_ids(2, 3 * SEGMENT_LEN)
    with pytest.raises(DataError, match="padding or overlap"):
        _ = overlapping(model)(ids, labels=ids, carry_len=SEGMENT_LEN)
