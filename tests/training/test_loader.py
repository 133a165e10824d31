import os
from collections.abc import Iterator
from itertools import count, islice

import pytest
import torch

from armt.tasks.contract import Batch
from armt.training.loader import load_batches
from training.runs import TASK


@pytest.mark.parametrize("start", [0, 5])
def test_the_batches_are_those_of_the_stream(start):
    stream = TASK.build().stream(4, seed=3)
    loaded = list(islice(load_batches(stream, start, is_pinned=False), 10))
    expected = list(islice(stream.batches(), start, start + 10))
    for found, wanted in zip(loaded, expected, strict=True):
        assert torch.equal(found.input_ids, wanted.input_ids)
        assert torch.equal(found.labels, wanted.labels)
        assert (found.label_start, found.resets) == (wanted.label_start, None)
    assert not torch.equal(loaded[0].input_ids, loaded[1].input_ids)


class WhoDraws:
    """A stream whose batches hold the number of the process that drew them."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        for step in count(start):
            ids = torch.tensor([[os.getpid(), step]])
            yield Batch(input_ids=ids, labels=ids, carry_len=7, resets=torch.tensor([True]))


def test_one_other_process_draws_them():
    batches = list(islice(load_batches(WhoDraws(), 2, is_pinned=False), 3))
    drawers = {int(batch.input_ids[0, 0]) for batch in batches}
    assert len(drawers) == 1
    assert drawers != {os.getpid()}
    assert [int(batch.input_ids[0, 1]) for batch in batches] == [2, 3, 4]
    assert batches[0].carry_len == 7
    assert batches[0].resets.tolist() == [True]
