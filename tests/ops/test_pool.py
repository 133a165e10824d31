"""Forgetting at random: what is kept, in what order, and how much of it after many segments."""

import math

import pytest
import torch

from armt.ops.pool import choose_dropped, first_chance, next_chance, random_shares, take

NUM_ROWS = 400


def chances(number=NUM_ROWS):
    return torch.tensor([first_chance(7, stream) for stream in range(number)])


def test_kept_and_dropped_are_the_places_in_their_order():
    is_filled = torch.ones(NUM_ROWS, 11, dtype=torch.bool)
    kept, dropped = choose_dropped(is_filled, chances(), 3)
    assert kept.shape == (NUM_ROWS, 8)
    assert dropped.shape == (NUM_ROWS, 3)
    for row in range(NUM_ROWS):
        for part in (kept[row], dropped[row]):
            assert part.tolist() == sorted(part.tolist())
        assert sorted(kept[row].tolist() + dropped[row].tolist()) == list(range(11))
    assert len({tuple(row) for row in dropped.tolist()}) > 100


@pytest.mark.parametrize("num_filled", [0, 2, 5, 7])
def test_empty_places_are_given_up_first(num_filled):
    is_filled = torch.arange(7) >= 7 - num_filled
    kept, dropped = choose_dropped(is_filled.expand(NUM_ROWS, -1), chances(), 4)
    num_lost = is_filled.expand(NUM_ROWS, -1).gather(1, dropped).sum(1)
    assert num_lost.tolist() == [max(0, num_filled - 3)] * NUM_ROWS
    num_left = is_filled.expand(NUM_ROWS, -1).gather(1, kept).sum(1)
    assert num_left.tolist() == [min(num_filled, 3)] * NUM_ROWS


def test_every_place_is_as_likely_as_another():
    is_filled = torch.ones(NUM_ROWS, 16, dtype=torch.bool)
    chance, counts = chances(), torch.zeros(16)
    for _ in range(25):
        _, dropped = choose_dropped(is_filled, chance, 4)
        counts += torch.nn.functional.one_hot(dropped, 16).sum((0, 1))
        chance = next_chance(chance)
    num_draws, share = 25 * NUM_ROWS, 4 / 16
    spread = math.sqrt(num_draws * share * (1 - share))
    assert ((counts - num_draws * share).abs() < 4 * spread).all()


def test_what_is_left_of_a_segment_follows_the_curve_of_the_paper():
    num_slots, number, num_updates = 160, 4, 60
    chance = chances()
    age = torch.full((NUM_ROWS, num_slots), -1)
    age[:, -number:] = 0
    is_filled = torch.ones(NUM_ROWS, num_slots, dtype=torch.bool)
    for update in range(1, num_updates + 1):
        kept, _ = choose_dropped(is_filled, chance, number)
        age = torch.cat([age.gather(1, kept), torch.full((NUM_ROWS, number), update)], dim=1)
        chance = next_chance(chance)
        if update % 20 == 0:
            left = (age == 0).sum(1).double()
            share = (1 - number / num_slots) ** update
            # each token is left or not; those of one row are a little less than independent
            spread = math.sqrt(number * share * (1 - share) / NUM_ROWS)
            assert abs(float(left.mean()) - number * share) < 3 * spread


def test_random_numbers_lie_in_their_range_and_are_spread_evenly():
    shares = random_shares(chances(), 500)
    assert shares.dtype == torch.float64
    assert 0 <= float(shares.min()) < 1e-3
    assert 1 - 1e-3 < float(shares.max()) < 1
    assert abs(float(shares.mean()) - 0.5) < 4 / math.sqrt(12 * shares.numel())
    between_rows = torch.corrcoef(shares[:40])
    assert (between_rows - torch.eye(40)).abs().max() < 0.25


def test_streams_and_steps_differ_and_repeat():
    starts = {first_chance(seed, stream) for seed in range(20) for stream in range(20)}
    assert len(starts) == 400
    chance, seen = chances(1), set()
    for _ in range(1000):
        chance = next_chance(chance)
        seen.add(int(chance))
    assert len(seen) == 1000
    assert torch.equal(random_shares(chances(), 5), random_shares(chances(), 5))


def test_vectors_are_taken_from_the_same_places_in_every_head():
    values, places = torch.randn(2, 3, 6, 4), torch.tensor([[0, 5], [2, 3]])
    found = take(values, places)
    for row in range(2):
        assert torch.equal(found[row], values[row][:, places[row]])
