import os
from collections.abc import Iterator
from itertools import count, islice

import pytest
import torch
from torch.utils.data import DataLoader

from armt.core.errors import ConfigError
from armt.tasks.babilong import FactStreamConfig, LengthStage, MixtureStreamConfig, TaskShare
from armt.tasks.contract import Batch
from armt.training.loader import StreamDataset, load_batches
from tasks.babilong.made_digests import ByteEncoder, made_store
from training.runs import TASK

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.mark.parametrize(("start", "num_workers"), [(0, 1), (5, 1), (0, 2), (5, 3)])
def test_the_batches_are_those_of_the_stream(start, num_workers):
    stream = TASK.build().stream(4, seed=3)
    batches = load_batches(stream, start, is_pinned=False, num_workers=num_workers)
    loaded = list(islice(batches, 10))
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


def test_a_stop_meant_for_the_whole_group_does_not_reach_who_draws():
    batches = load_batches(WhoDraws(), 0, is_pinned=False)
    drawer = int(next(batches).input_ids[0, 0])
    assert os.getpgid(drawer) != os.getpgid(os.getpid())


@pytest.fixture(scope="module")
def mixture():
    config = MixtureStreamConfig(
        tasks=(TaskShare(task="qa1"), TaskShare(task="qa5")),
        stages=(LengthStage(lengths=(600, 900), num_batches=5), LengthStage(lengths=(1200,))),
        batch_size=3,
    )
    return config.build(made_store(), ByteEncoder(), seed=2)


def loaded(dataset, num_workers, count):
    loader = DataLoader(dataset, batch_size=None, num_workers=num_workers)
    return list(islice(loader, count))


@pytest.mark.parametrize(("num_workers", "start"), [(0, 2), (2, 0), (2, 3), (3, 4)])
def test_several_workers_make_the_batches_of_the_stream_in_its_order(mixture, num_workers, start):
    expected = islice(mixture.batches(start), 7)
    for found, wanted in zip(
        loaded(StreamDataset(mixture, start), num_workers, 7), expected, strict=True
    ):
        assert torch.equal(found.input_ids, wanted.input_ids)
        assert torch.equal(found.labels, wanted.labels)
        assert found.facts == wanted.facts


def test_ranks_and_their_workers_share_a_stream_without_rest(mixture):
    whole = list(islice(mixture.batches(), 12))
    for rank in range(2):
        found = loaded(StreamDataset(mixture.sharded(rank, 2)), 2, 6)
        pairs = zip(found, whole[rank::2], strict=True)
        assert all(torch.equal(one.input_ids, other.input_ids) for one, other in pairs)


class SharedOut(WhoDraws):
    """The same in several processes."""

    def sharded(self, rank: int, num_shards: int) -> "SharedOut":
        return self


def test_each_worker_makes_its_part():
    batches = loaded(StreamDataset(SharedOut()), 2, 6)
    drawers = [int(batch.input_ids[0, 0]) for batch in batches]
    assert len(set(drawers)) == 2
    assert drawers[::2] == [drawers[0]] * 3
    assert drawers[1::2] == [drawers[1]] * 3


def test_batches_that_depend_on_each_other_need_one_worker():
    with pytest.raises(ConfigError, match="must make them all"):
        _ = loaded(StreamDataset(WhoDraws()), 2, 1)
    assert len(loaded(StreamDataset(WhoDraws()), 1, 1)) == 1


ROWS = FactStreamConfig(
    batch_size=5, segment_len=64, carry_len=128, tail_len=(90, 120), epoch_steps=3, gap_len=(16, 99)
)
DENSE = FactStreamConfig(batch_size=3, is_dense=True, sequence_len=150)


def assert_same(found: Batch, wanted: Batch) -> None:
    assert found.tensors().keys() == wanted.tensors().keys()
    for name, tensor in wanted.tensors().items():
        assert torch.equal(found.tensors()[name], tensor), name
    assert (found.carry_len, found.label_start) == (wanted.carry_len, wanted.label_start)


@pytest.mark.parametrize("config", [ROWS, DENSE], ids=["rows", "dense"])
@pytest.mark.parametrize(("num_workers", "start"), [(1, 0), (2, 3), (3, 0), (9, 1)])
def test_any_number_of_workers_draws_the_same_facts(config, num_workers, start):
    stream = config.build(made_store(), ByteEncoder(), seed=4)
    batches = load_batches(stream, start, is_pinned=False, num_workers=num_workers)
    for found, wanted in zip(islice(batches, 6), stream.batches(start), strict=False):
        assert_same(found, wanted)


def test_the_rows_are_drawn_by_several():
    class WhoDrawsRows(WhoDraws):
        num_rows = 3

        def rows_of(self, part: int, num_parts: int) -> WhoDraws:
            return self

    batches = load_batches(WhoDrawsRows(), 0, is_pinned=False, num_workers=8)
    for step, batch in enumerate(islice(batches, 3)):
        assert len(set(batch.input_ids[:, 0].tolist())) == 3
        assert batch.input_ids[:, 1].tolist() == [step] * 3
        assert batch.resets.tolist() == [True] * 3
