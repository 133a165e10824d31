"""Segments that a memory writes by mistake are found, and stand where nothing is told."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from armt.benchmarking.babilong import train_recorded
from armt.benchmarking.records import RecordBook
from armt.core.errors import ConfigError, StateError
from armt.memories.armt import ARMTConfig
from armt.tasks.contract import NO_LABEL
from armt.tasks.encoder import TokenizerEncoder
from armt.training import mining
from armt.training.config import MiningConfig, StageConfig
from armt.training.mining import MinedStream, mine_segments, read_watched
from armt.training.run import prepare
from tiny_boxed import tiny_tokenizer
from training.runs import SEGMENT_LEN, TASK, carried_run, fact_stream, retrieval_run

CLOSED = ARMTConfig(num_memory_tokens=1, d_mem=8, gate="hard", gate_bias=-30.0)


def run_with(memory, stage_changes):
    run = carried_run(memory=memory)
    return replace(run, stages=(run.stages[0], replace(run.stages[0], **stage_changes)))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run that mines before its second stage; its memory writes nothing at first."""
    folder = tmp_path_factory.mktemp("run")
    run = run_with(CLOSED, {"mining": MiningConfig(num_tokens=4096)})
    return prepare(run, folder), folder


@pytest.fixture
def writes(prepared, monkeypatch):
    """Lets a text count as written that holds a token, one of fifty or so; returns that token."""
    counts = np.bincount(stream_of(prepared)._stream.store.tokens)
    token = int(np.abs(counts - counts.sum() // 50).argmin())

    def watch(model, ids, state=None):
        before = model.init_state(len(ids)) if state is None else state
        return before, torch.from_numpy((ids == token).any(1))

    monkeypatch.setattr(mining, "read_watched", watch)
    return token


def stream_of(prepared):
    (ours, _) = prepared
    return ours.trainer.streams[1]


def test_what_is_written_is_found_and_nothing_else(prepared, writes, monkeypatch):
    monkeypatch.setattr(mining, "_MOST_WRITTEN", 1.0)
    model, store = prepared[0].trainer.recurrent, stream_of(prepared)._stream.store
    found = mine_segments(model, store, 4096, seed=0)
    assert len(found) > 0
    assert found.shape[1] == SEGMENT_LEN
    assert (found == writes).any(1).all()
    assert np.array_equal(found, mine_segments(model, store, 4096, seed=0))
    assert not np.array_equal(found, mine_segments(model, store, 4096, seed=1)[: len(found)])


def test_a_memory_that_writes_everything_is_refused(prepared, tmp_path):
    store = stream_of(prepared)._stream.store
    sigmoid = run_with(replace(CLOSED, gate="sigmoid", gate_bias=0.0), {})
    model = prepare(sigmoid, tmp_path).trainer.recurrent
    with torch.no_grad():
        for parameter in model.memory.parameters():
            _ = parameter.add_(0.1 * torch.randn_like(parameter))
    with pytest.raises(ConfigError, match="leaves text without facts alone"):
        _ = mine_segments(model, store, 4096, seed=0)


def test_how_a_text_begins_does_not_count(prepared, monkeypatch):
    model, store = prepared[0].trainer.recurrent, stream_of(prepared)._stream.store

    def watch(model, ids, state=None):
        before = model.init_state(len(ids)) if state is None else state
        return before, torch.full((len(ids),), state is None)

    monkeypatch.setattr(mining, "read_watched", watch)
    assert len(mine_segments(model, store, 4096, seed=0)) == 0


def test_a_row_is_written_if_its_state_changes(prepared):
    model, store = prepared[0].trainer.recurrent, stream_of(prepared)._stream.store
    ids = store.tokens[: 2 * SEGMENT_LEN].reshape(2, -1)
    state, is_written = read_watched(model, ids)
    assert not is_written.any()
    assert state.num_tokens.tolist() == [SEGMENT_LEN] * 2
    layer = state.layers[0]
    told = layer.where(torch.tensor([True, False]), layer.map(torch.ones_like))
    state = state.with_layers((told, *state.layers[1:]))
    _, is_written = read_watched(model, ids, state)
    assert not is_written.any(), "what stands in a memory already is not written"


def test_a_memory_that_is_not_finite_is_no_memory_that_writes(prepared):
    model, store = prepared[0].trainer.recurrent, stream_of(prepared)._stream.store
    ids = store.tokens[: 2 * SEGMENT_LEN].reshape(2, -1)
    state = model.init_state(2)
    broken = state.layers[0].map(lambda each: torch.full_like(each, torch.nan))
    with pytest.raises(StateError, match="layer 0"):
        _ = read_watched(model, ids, state.with_layers((broken, *state.layers[1:])))


def test_found_segments_stand_in_quiet_rows_only(prepared, tmp_path):
    mined = stream_of(prepared)
    facts = replace(mined._stream.config, gap_len=(64, 64))  # some rows are quiet
    plain = fact_stream(
        replace(carried_run(), stages=(replace(carried_run().stages[0], stream=facts),)),
        TokenizerEncoder(tiny_tokenizer()),
    )
    path = tmp_path / "mined.npy"
    segment = np.full((1, SEGMENT_LEN), 3, dtype=np.uint16)
    np.save(path, segment)
    ours = MinedStream(plain, MiningConfig(num_tokens=1, share=1.0), path)
    num_mixed = 0
    for old, new in islice(zip(plain.batches(), ours.batches(), strict=False), 12):
        carried = slice(0, facts.carry_len)
        is_mixed = (new.input_ids[:, carried] == 3).all(1)
        assert torch.equal(is_mixed, old.is_quiet)
        assert torch.equal(new.input_ids[~is_mixed], old.input_ids[~is_mixed])
        assert torch.equal(new.input_ids[:, facts.carry_len :], old.input_ids[:, facts.carry_len :])
        labelled = new.labels != NO_LABEL
        assert torch.equal(labelled, old.labels != NO_LABEL)
        assert torch.equal(new.labels[labelled], new.input_ids[labelled])
        num_mixed += int(is_mixed.sum())
    assert num_mixed
    later = next(islice(ours.batches(), 5, None))
    assert torch.equal(next(ours.batches(5)).input_ids, later.input_ids)


def test_a_run_mines_before_the_stage_and_tells_how_much_it_found(prepared, tmp_path):
    ours, folder = prepared
    book = RecordBook(tmp_path / "records.jsonl", seed=0, commit="none")
    _ = train_recorded(ours, book)
    assert book.holds("mining.segments", stage=1)
    assert np.load(folder / "mined-1.npy").shape == (0, SEGMENT_LEN)
    assert ours.trainer.streams[1].num_found == 0
    assert ours.trainer.progress.step == ours.trainer.config.num_steps


def test_only_texts_that_are_carried_are_mined():
    with pytest.raises(ConfigError, match="texts that are carried on"):
        _ = StageConfig(
            num_steps=1, learning_rate=1.0, stream=TASK, mining=MiningConfig(num_tokens=1)
        )
    with pytest.raises(ConfigError, match="at least one token"):
        _ = MiningConfig(num_tokens=0)
    assert all(stage.mining is None for stage in retrieval_run().stages)
