"""Hashes of numbers: all different, evenly spread, and the same on every machine."""

import math

import torch

from armt.ops.hashing import NUM_VALUES, hashed


def test_it_is_the_published_hash():
    def plain(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    numbers = [0, 1, 2, 77, 2**31, 2**32 - 1]
    assert hashed(torch.tensor(numbers)).tolist() == [plain(number) for number in numbers]
    assert torch.equal(hashed(torch.tensor([2**32 + 5, -1])), hashed(torch.tensor([5, 2**32 - 1])))


def test_hashes_differ_and_are_spread_evenly():
    found = hashed(torch.arange(1 << 16))
    assert len(found.unique()) == 1 << 16
    assert 0 <= int(found.min()) < int(found.max()) < NUM_VALUES
    counts = torch.bincount(found >> 26, minlength=64).double()
    assert ((counts - 1024).abs() < 5 * math.sqrt(1024)).all()
    for bit in range(32):
        share = float(((found >> bit) & 1).double().mean())
        assert abs(share - 0.5) < 5 * 0.5 / 256
