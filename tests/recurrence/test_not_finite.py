"""A reading stops soon after its memory is no longer finite, and keeps the last good state."""

import pickle

import pytest
import torch

from armt import ARMTConfig
from armt.core.errors import StateError
from armt.memories.mplus import MPlusConfig
from armt.recurrence import reading
from tiny import SEGMENT_LEN, assert_same_state, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
BAD = 3
"""A token whose embedding is not finite."""
NUM_UNCHECKED = 2
LOOP_UNCHECKED = 8
"""Segments of a loop between two looks, with two layers."""
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(reading, "_NUM_UNCHECKED", NUM_UNCHECKED)
    monkeypatch.setattr(reading, "_NUM_AT_ONCE", 1)


def poisoned(schedule="sequential"):
    model = recurrent(MEMORY, schedule=schedule)
    with torch.no_grad():
        model.get_input_embeddings().weight[BAD] = float("nan")
    return model


def text(num_tokens, bad_at=None, num_rows=1):
    ids = random_ids(num_rows, num_tokens, low=BAD + 1)
    if bad_at is not None:
        ids[-1, bad_at] = BAD
    return ids


def pieces_of(ids, seen, piece_len=6):
    for start in range(0, ids.shape[1], piece_len):
        seen.append(start)
        yield ids[:, start : start + piece_len]


@pytest.mark.parametrize(
    ("schedule", "num_unchecked"), [("sequential", NUM_UNCHECKED), ("waves", LOOP_UNCHECKED)]
)
@pytest.mark.parametrize("num_rows", [1, 2])
def test_a_reading_stops_and_keeps_the_last_good_state(schedule, num_unchecked, num_rows):
    model, step = poisoned(schedule), num_unchecked * SEGMENT_LEN
    ids = text(10 * step, 4 * step + 1, num_rows)
    expected = f"between tokens {4 * step} and {5 * step}; .* `state` of this error"
    with pytest.raises(StateError, match=expected) as caught:
        _ = model.read(ids)
    good = caught.value.state
    assert_same_state(good, model.read(ids[:, : 4 * step]), **CLOSE)
    more = text(9, num_rows=num_rows)
    expected = model.read(torch.cat([ids[:, : 4 * step], more], 1))
    assert_same_state(model.read(more, good), expected, **CLOSE)


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
def test_a_stream_is_not_read_to_its_end(schedule):
    model, seen = poisoned(schedule), []
    ids = text(400, 70)
    with pytest.raises(StateError, match="not finite") as caught:
        _ = model.read(pieces_of(ids, seen))
    good = caught.value.state
    num_read = int(good.num_tokens[0])
    assert 0 < num_read - int(good.num_pending[0]) <= 70
    assert seen[-1] < 70 + 2 * LOOP_UNCHECKED * SEGMENT_LEN
    assert_same_state(good, model.read(ids[:, :num_read]), **CLOSE)
    good.check_finite()


def test_tokens_that_were_pending_belong_to_the_range():
    model = poisoned()
    start = model.read(text(6, 5))
    with pytest.raises(StateError, match="between tokens 4 and 8") as caught:
        _ = model.read(text(4), start)
    assert caught.value.state is start


@pytest.mark.parametrize("num_more", [0, 9])
def test_a_given_state_that_is_not_finite_is_not_called_good(num_more):
    model = poisoned()
    bad = model(text(4, 1)).state
    with pytest.raises(StateError, match=r"after 4 tokens.*Go back") as caught:
        _ = model.read(text(num_more), bad)
    assert caught.value.state is None


@pytest.mark.parametrize("schedule", ["sequential", "waves"])
@pytest.mark.parametrize("num_tokens", [64, 250])
def test_looking_at_the_state_changes_nothing(schedule, num_tokens, monkeypatch):
    model, seen = poisoned(schedule), []
    ids, start = text(num_tokens, num_rows=2), model.read(text(3, num_rows=2))
    found = [model.read(ids, start), model.read(pieces_of(ids, seen), start)]
    monkeypatch.setattr(reading, "_NUM_UNCHECKED", 1000)
    expected = model.read(ids, start)
    for each in found:
        assert_same_state(each, expected, **CLOSE)


def test_a_memory_that_grows_is_shown_as_it_grows():
    model, seen = recurrent(MPlusConfig(num_memory_tokens=2, num_slots=5, d_retriever=4)), []
    after = model.read(text(64), on_progress=lambda now: seen.append(now.nbytes))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == after.nbytes


def test_the_error_can_be_sent_to_another_process():
    error = pickle.loads(pickle.dumps(StateError("lost", state=poisoned().read(text(5)))))
    assert str(error) == "lost"
    assert int(error.state.num_tokens) == 5
