"""Every registered recipe: it builds, its data can be drawn, and its parts fit each other."""

import json
from dataclasses import replace
from itertools import islice, product

import pytest

from armt.core.registry import MEMORIES
from armt.recipes.registry import RECIPES
from armt.tasks.associative_retrieval import VOCAB_SIZE, AssociativeRetrievalConfig
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES
from armt.tasks.babilong import BackgroundStore, Book, build_store
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.encoder import TokenizerEncoder
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
    return build_store([Book("prose", PROSE * 20)], encoder)


@pytest.fixture(params=NAMES)
def run(request) -> RunConfig:
    return RECIPES[request.param].entry()


def first_batch(stage: StageConfig, store, encoder) -> Batch:
    """The first batch of a stage, with a few rows."""
    if isinstance(stage.stream, AssociativeRetrievalConfig):
        stream = stage.stream.build().stream(2, seed=0)
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


def test_its_model_builds_small(run, encoder):
    small = replace(run.backbone, d_model=16, num_heads=2, d_ffn=16, num_layers=1)
    memory = replace(run.memory, d_mem=4)
    has_text = run.text is not None
    model = build_model(replace(run, backbone=small, memory=memory), encoder if has_text else None)
    assert MEMORIES.name_of(type(model.memory.mechanisms[0])) == "armt"
    assert model.recurrence == run.recurrence
    expected = encoder.vocab_size if has_text else VOCAB_SIZE
    assert model.config.vocab_size == expected


def test_its_segments_fit_its_backbone(run):
    num_positions = run.recurrence.segment_len + run.memory.num_memory_tokens
    assert num_positions <= run.backbone.max_positions
    assert run.memory.build(run.backbone.d_model).to_value.weight.shape[0] == run.backbone.d_model


def test_its_data_can_be_drawn_and_fit_its_segments(run, store, encoder):
    for stage in run.stages:
        batch = first_batch(stage, store, encoder)
        assert batch.input_ids.shape == batch.labels.shape
        assert batch.carry_len % run.recurrence.segment_len == 0
        if run.text is not None:
            assert (batch.labels != NO_LABEL).any()
            continue
        assert batch.input_ids.shape[1] % run.recurrence.segment_len == 0
        assert batch.question_ids.shape == batch.question_labels.shape
        assert batch.question_ids.shape[1:] == (
            stage.stream.num_questions,
            run.recurrence.segment_len,
        )
        assert (batch.question_labels != NO_LABEL).any(-1).all()
        assert max(int(batch.input_ids.max()), int(batch.question_ids.max())) < VOCAB_SIZE
