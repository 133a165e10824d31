"""The ring of segments: what is put in lies where waves look for it."""

import pytest
import torch

from armt.recurrence.segment_ring import SegmentRing

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("is_from_device", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_segments_stand_at_their_number(device, is_from_device):
    like = torch.zeros(2, 5, dtype=torch.long, device=device)
    ring = SegmentRing(like, half_len=4)
    for _ in range(2):
        ring.restart()
        segments = torch.arange(230).view(23, 2, 5)
        waiting = segments.to(device) if is_from_device else segments
        number = 0
        while len(waiting):
            num_put = ring.put(waiting[:3])
            assert 1 <= num_put <= 3
            waiting = waiting[num_put:]
            for index in range(number, number + num_put):
                assert torch.equal(ring.places[index % 8].cpu(), segments[index])
            number += num_put


def test_a_half_is_filled_before_the_next():
    ring = SegmentRing(torch.zeros(1, 2, dtype=torch.long), half_len=4)
    assert [ring.put(torch.zeros(9, 1, 2, dtype=torch.long)) for _ in range(3)] == [4, 4, 4]
