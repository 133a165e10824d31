"""Slots against a reader that keeps, for each slot, the tokens that were merged into it."""

import pytest
import torch

from armt.ops.slots import Slots, nearest_slots, stalest_slot, write_slots

DOUBLE = torch.float64
NUM_SLOTS, DIM = 5, 3


def empty(*heads, num_slots=NUM_SLOTS):
    vectors = torch.zeros(*heads, num_slots, DIM, dtype=DOUBLE)
    numbers = torch.zeros(*heads, num_slots, dtype=torch.long)
    return Slots(vectors, vectors.clone(), numbers, numbers.clone())


def tokens(*heads, number=23):
    """Keys of four kinds, so that some are alike."""
    kinds = torch.randn(*heads, 4, DIM, dtype=DOUBLE)
    chosen = torch.randint(4, (*heads, number, 1)).expand(*heads, number, DIM)
    keys = kinds.gather(-2, chosen) + 0.3 * torch.randn(*heads, number, DIM, dtype=DOUBLE)
    return keys, torch.randn(*heads, number, DIM, dtype=DOUBLE)


class Reader:
    """Merges tokens by the words of the paper; a slot is the list of its tokens."""

    def __init__(self, threshold):
        self.threshold = threshold
        self.members = [[] for _ in range(NUM_SLOTS)]
        self.last_written = [0] * NUM_SLOTS
        self.num_lost = self.num_tokens = 0

    def key(self, slot):
        return torch.stack([key for key, _ in self.members[slot]]).mean(0)

    def write(self, key, value):
        self.num_tokens += 1
        used = [slot for slot in range(NUM_SLOTS) if self.members[slot]]
        cosines = {s: float(torch.cosine_similarity(self.key(s), key, dim=0)) for s in used}
        slot = max(cosines, key=cosines.get, default=None)
        if slot is None or cosines[slot] < self.threshold:
            if len(used) < NUM_SLOTS:
                slot = next(s for s in range(NUM_SLOTS) if s not in used)
            else:
                slot = min(used, key=lambda s: self.last_written[s])
            self.num_lost += len(self.members[slot])
            self.members[slot] = []
        self.members[slot].append((key, value))
        self.last_written[slot] = self.num_tokens


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.8, 0.95, 1.1])
def test_slots_are_exact_means_of_their_members(threshold):
    keys, values = tokens()
    slots, reader = empty(), Reader(threshold)
    for stop in (1, 4, 5, 12, 23):  # some calls, as segments come
        slots = write_slots(
            slots, keys[reader.num_tokens : stop], values[reader.num_tokens : stop], threshold
        )
        for token in range(reader.num_tokens, stop):
            reader.write(keys[token], values[token])
        assert slots.counts.tolist() == [len(members) for members in reader.members]
        assert int(slots.counts.sum()) == stop - reader.num_lost
        for slot, members in enumerate(reader.members):
            if members:
                means = [torch.stack(part).mean(0) for part in zip(*members, strict=True)]
                torch.testing.assert_close(slots.keys[slot], means[0], rtol=1e-12, atol=1e-12)
                torch.testing.assert_close(slots.values[slot], means[1], rtol=1e-12, atol=1e-12)
                assert int(slots.ages[slot]) == stop - reader.last_written[slot]
    assert reader.num_lost > 0 or threshold < 0.95


def test_above_one_it_is_a_ring_of_the_last_tokens():
    keys, values = tokens()
    slots = write_slots(empty(), keys, values, 1.1)
    assert slots.counts.tolist() == [1] * NUM_SLOTS
    order = slots.ages.argsort(descending=True)
    assert torch.equal(slots.keys[order], keys[-NUM_SLOTS:])
    assert torch.equal(slots.values[order], values[-NUM_SLOTS:])
    assert slots.ages.sort().values.tolist() == list(range(NUM_SLOTS))


def test_at_minus_one_it_is_one_running_mean():
    keys, values = tokens()
    keys[1] = -keys[0]  # the opposite is alike too, whatever rounding says
    slots = write_slots(empty(), keys, values, -1.0)
    assert slots.counts.tolist() == [23, 0, 0, 0, 0]
    torch.testing.assert_close(slots.keys[0], keys.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slots.values[0], values.mean(0), rtol=1e-12, atol=1e-12)


def test_one_token_changes_one_slot_and_every_age():
    keys, values = tokens()
    before = write_slots(empty(), keys[:20], values[:20], 0.9)
    kept = Slots(*(part.clone() for part in before))
    after = write_slots(before, keys[20:21], values[20:21], 0.9)
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True))
    is_written = after.ages == 0
    assert int(is_written.sum()) == 1
    assert torch.equal(after.ages[~is_written], before.ages[~is_written] + 1)
    for new, old in zip(after[:3], before[:3], strict=True):
        assert torch.equal(new[~is_written], old[~is_written])


def test_heads_and_rows_are_by_themselves():
    keys, values = tokens(2, 3)
    together = write_slots(empty(2, 3), keys, values, 0.8)
    for row in range(2):
        for head in range(3):
            alone = write_slots(empty(), keys[row, head], values[row, head], 0.8)
            for found, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(found[row, head], expected, rtol=1e-12, atol=1e-12)


def test_empty_slots_come_first_and_then_the_oldest():
    slots = empty()
    slots.counts[:] = torch.tensor([1, 0, 2, 0, 1])
    slots.ages[:] = torch.tensor([9, 0, 30, 40, 2])
    assert int(stalest_slot(slots)) == 1
    slots.counts[:] = 1
    assert int(stalest_slot(slots)) == 3


@pytest.mark.parametrize("number", [1, 3, NUM_SLOTS])
def test_the_nearest_are_those_of_a_sort_and_never_empty(number):
    scores = torch.randn(2, 7, NUM_SLOTS, dtype=DOUBLE)
    is_used = torch.tensor([[True] * 5, [False, True, False, True, False]])
    found = nearest_slots(scores, is_used, number)
    for row in range(2):
        for token in range(7):
            used = [slot for slot in range(NUM_SLOTS) if is_used[row, slot]]
            best = sorted(used, key=lambda slot: -scores[row, token, slot])[:number]
            assert found[row, token].nonzero()[:, 0].tolist() == sorted(best)
    assert not nearest_slots(scores, torch.zeros_like(is_used), number).any()


def test_writing_keeps_no_gradient():
    keys, values = (part.requires_grad_() for part in tokens())
    assert not any(part.requires_grad for part in write_slots(empty(), keys, values, 0.8))
