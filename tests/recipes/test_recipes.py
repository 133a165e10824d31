"""Every registered recipe: it builds, its data can be drawn, and its parts fit each other."""

import json
from dataclasses import replace
from itertools import islice, product

import pytest

from armt.memories.none import NoMemoryConfig
from armt.recipes.registry import RECIPES
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES
from armt.tasks.babilong import BackgroundStore, Book, build_store
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.tasks.symbols import SymbolTaskConfig
from armt.tasks.tokenizer import train_tokenizer
from armt.training.config import RunConfig, StageConfig
from armt.training.run import build_model
from tiny_boxed import PROSE

NAMES = [card.name for card in RECIPES]


@pytest.fixture(scope="module")
def encoder() -> TokenizerEncoder:
    """A small tokenizer whose facts are about as short as those of a real one."""
    facts = [
        f" {person} {verb} to the {place}. Where is {person}?"
        for person, verb, place in product(PEOPLE, MOVE_VERBS, PLACES)
    ]
    return TokenizerEncoder(train_tokenizer([PROSE, *facts], vocab_size=600))


@pytest.fixture(scope="module")
def store(encoder) -> BackgroundStore:
    return build_store([Book("prose", PROSE * 40)], encoder)


@pytest.fixture(params=NAMES)
def run(request) -> RunConfig:
    return RECIPES[request.param].entry()


def first_batch(stage: StageConfig, store, encoder) -> Batch:
    """The first batch of a stage, with a few rows."""
    if isinstance(stage.stream, SymbolTaskConfig):
        stream = stage.stream.build().stream(2, seed=0)
    elif isinstance(stage.stream, LanguageModelingConfig):
        stream = stage.stream.build(store, encoder).stream(2, seed=0)
    else:
        shape = replace(stage.stream, batch_size=2, gap_len=(16, 64), epoch_steps=1)
        stream = shape.build(store, encoder, seed=0)
    return next(islice(stream.batches(), 1))


def test_it_is_named_as_it_is_registered(run, request):
    name = request.node.callspec.params["run"]
    assert run.name == name
    assert RECIPES[name].summary.endswith(".")
    assert RECIPES[name].paper.startswith("arXiv:")


def test_it_is_plain_data(run):
    assert json.loads(json.dumps(run.to_dict()))["name"] == run.name
    assert run.num_steps > 0


def test_its_model_builds_with_its_positions(run, encoder):
    small = replace(run.backbone, d_model=16, num_heads=2, d_ffn=16, num_layers=1)
    has_text = run.text is not None
    model = build_model(replace(run, backbone=small), encoder if has_text else None)
    assert model.memory.config == run.memory
    assert model.recurrence == run.recurrence
    expected = encoder.vocab_size if has_text else run.stages[0].stream.vocab_size
    assert model.config.vocab_size == expected


def test_its_data_can_be_drawn_and_fit_its_segments(run, store, encoder):
    for stage in run.stages:
        batch = first_batch(stage, store, encoder)
        assert batch.input_ids.shape == batch.labels.shape
        assert batch.carry_len % run.recurrence.segment_len == 0
        if run.text is None:
            assert int(batch.input_ids.max()) < stage.stream.vocab_size
        if batch.question_ids is None:
            assert (batch.labels != NO_LABEL).any(-1).all()
            continue
        assert batch.input_ids.shape[1] % run.recurrence.segment_len == 0
        assert batch.question_ids.shape == batch.question_labels.shape
        assert batch.question_ids.shape[1:] == (
            stage.stream.num_questions,
            run.recurrence.segment_len,
        )
        assert (batch.question_labels != NO_LABEL).any(-1).all()
        assert int(batch.question_ids.max()) < stage.stream.vocab_size


def test_its_last_stage_needs_the_memory(run, store, encoder):
    batch = first_batch(run.stages[-1], store, encoder)
    has_memory = not isinstance(run.memory, NoMemoryConfig)
    assert not has_memory or batch.input_ids.shape[1] > run.recurrence.segment_len


def test_hmt_recalls_from_its_second_stage_on():
    run = RECIPES["topics_hmt"].entry()
    told = [(run.memory.in_stage(stage.memory_changes).use_recall, stage.stream.num_segments)
            for stage in run.stages]  # fmt: skip
    assert told == [(False, 1), (False, 1), (True, 2), (True, 4), (True, 8), (True, 12)]
    assert run.memory.use_recall
