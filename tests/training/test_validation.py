"""A run chooses its weights by long texts, and ends at the same ones after a stop."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.errors import ConfigError, StateError, StoppedError
from armt.evaluation.metrics import Score
from armt.memories.rmt import RMTConfig
from armt.recipes.rmt_encoder import rmt_encoder, rmt_encoder_tiny
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong import Book, build_store
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.fact_memory import FactMemory
from armt.training.classifier import (
    ClassifierStream,
    ClassifierTrainer,
    build_classifier,
    build_task,
    load_classifier,
    save_classifier,
)
from armt.training.classifier_config import (
    ClassifierRunConfig,
    ClassifierStageConfig,
    ValidationConfig,
)
from armt.training.validation import BEST_NAME, BestWeights, ValidationReport
from tiny_boxed import PROSE, tiny_tokenizer

NOISY = ClassifierStageConfig(
    num_segments=2, num_steps=4, learning_rate=3e-3, memory_changes=("memory_noise=0.8",)
)
RUN = ClassifierRunConfig(
    name="test",
    backbone=TinyEncoderConfig(
        d_model=32, num_layers=2, num_heads=2, d_ffn=64, max_positions=48, dropout=0.1
    ),
    memory=RMTConfig(num_memory_tokens=2),
    recurrence=RecurrenceConfig(segment_len=43),
    stages=(ClassifierStageConfig(num_segments=1, num_steps=2, learning_rate=3e-3), NOISY, NOISY),
    validation=ValidationConfig(num_segments=3, num_samples=12, every=2, num_stages=2),
    batch_size=4,
    log_every=3,
)
VALIDATED = [4, 6, 8, 10]


@pytest.fixture(scope="module")
def encoder():
    return TokenizerEncoder(tiny_tokenizer())


@pytest.fixture(scope="module")
def task(encoder):
    books = [Book("prose", PROSE * 4), Book("again", PROSE * 4)]
    return build_task(RUN, build_store(books, encoder), encoder)


@pytest.fixture
def trainer(encoder, task, tmp_path):
    def make(folder="run", run=RUN, task=task):
        _ = torch.manual_seed(0)  # as in a new process
        return ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path / folder)

    return make


@pytest.fixture(scope="module")
def whole(encoder, task, tmp_path_factory):
    """The folder of a run that was not stopped, its model and what it reported."""
    folder, reports = tmp_path_factory.mktemp("whole"), []
    _ = torch.manual_seed(0)
    model = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN, folder).train(
        reports.append
    )
    return folder, model, reports


@pytest.fixture
def scripted(monkeypatch):
    """Makes validations find the numbers of right answers that are asked for, one by one."""

    def script(*numbers):
        left = iter(numbers)

        def score(*_args, num_samples, **_options):
            return {"on": Score(next(left), num_samples)}

        monkeypatch.setattr("armt.training.validation.fact_memory_scores", score)

    return script


def validations(reports):
    return [each for each in reports if isinstance(each, ValidationReport)]


def same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("scores", "best"), [((5, 7, 7, 6), 8), ((0, 0, 0, 0), 10), ((9, 8, 8, 8), 4)]
)
def test_a_run_ends_at_the_best_weights_and_the_later_of_equal_ones(
    trainer, scripted, encoder, tmp_path, scores, best
):
    scripted(*scores)
    run, seen, reports = trainer(), {}, []

    def note(report):
        reports.append(report)
        seen[report.step] = {name: x.clone() for name, x in run.model.state_dict().items()}

    model = run.train(note)
    assert not model.training
    same_weights(model.state_dict(), seen[best])
    told = validations(reports)
    assert [each.step for each in told] == VALIDATED
    assert [round(each.accuracy * 12) for each in told] == list(scores)
    assert [each.step for each in told if each.is_best][-1] == best
    folder = tmp_path / "run"
    save_classifier(folder, model)
    same_weights(load_classifier(folder, RUN, encoder).state_dict(), seen[best])


def test_validation_does_not_change_the_training(whole, trainer, task, tmp_path):
    folder, _, reports = whole
    alone = []
    _ = trainer("alone", replace(RUN, validation=None), task.parted()[0]).train(alone.append)
    assert [(each.step, each.loss, each.accuracy) for each in alone] == [
        (each.step, each.loss, each.accuracy)
        for each in reports
        if not isinstance(each, ValidationReport)
    ]
    for name in ("model", "optimizer", "random"):
        path = f"checkpoints/step-00000010/{name}.safetensors"
        same_weights(load_file(folder / path), load_file(tmp_path / "alone" / path))


@pytest.mark.parametrize("step", [3, 4, 5, 8])
def test_a_run_that_was_asked_to_stop_ends_at_the_same_weights(whole, trainer, step):
    folder, model, reports = whole
    stopped, told = trainer(), []
    learn = stopped._learn

    def learn_and_stop(batch):
        learn(batch)
        if stopped.progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped._learn = learn_and_stop
    with pytest.raises(StoppedError, match=f"after step {step}"):
        _ = stopped.train(told.append)
    resumed = trainer()
    same_weights(resumed.train(told.append).state_dict(), model.state_dict())
    assert validations(told) == validations(reports)
    same_weights(load_file(resumed.folder / BEST_NAME), load_file(folder / BEST_NAME))
    same_weights(trainer().train(told.append).state_dict(), model.state_dict())


@pytest.mark.parametrize("step", VALIDATED)
def test_a_run_that_broke_off_after_a_validation_ends_at_the_same_weights(whole, trainer, step):
    def break_off(report):
        if isinstance(report, ValidationReport) and report.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = trainer().train(break_off)
    resumed = trainer()
    assert resumed.progress.step < step
    same_weights(resumed.train(lambda _: None).state_dict(), whole[1].state_dict())


def test_the_texts_are_of_books_that_are_not_trained_on(encoder, monkeypatch, tmp_path):
    names = [*"ABCDEFGHIJK"]
    books = [
        Book(name, f"Here stands the book that is called {name} alone. " * 30) for name in names
    ]
    task = build_task(RUN, build_store(books, encoder), encoder)
    trainer = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN, tmp_path)
    drawn, batch = [], FactMemory.batch
    tokenizer = tiny_tokenizer()

    def decoded(row):
        return tokenizer.decode(row.tolist())

    def note(self, num_segments, *key):
        drawn.append(batch(self, num_segments, *key))
        return drawn[-1]

    monkeypatch.setattr(FactMemory, "batch", note)
    _ = trainer._best.validate(10)
    stream = ClassifierStream(trainer.task, RUN, NOISY)
    _ = [stream.batch(number) for number in range(20)]
    held, *trained = [
        {name for name in names for row in each.input_ids if f"called {name} alone" in decoded(row)}
        for each in drawn
    ]
    assert held == {"A", "K"}
    assert set().union(*trained) == set(names) - held


def test_a_single_book_cannot_be_held_out(encoder, tmp_path):
    task = build_task(RUN, build_store([Book("prose", PROSE * 4)], encoder), encoder)
    with pytest.raises(ConfigError, match="cannot be held out of one"):
        _ = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN, tmp_path)


def test_validation_leaves_the_mode_of_the_model(whole, task, tmp_path):
    best = BestWeights(whole[1].train(), task, RUN.validation, tmp_path)
    _ = best.validate(1)
    assert whole[1].training
    _ = BestWeights(whole[1].eval(), task, RUN.validation, tmp_path).validate(2)
    assert not whole[1].training


def test_best_weights_that_cannot_be_read_are_refused(trainer, tmp_path):
    _ = trainer().train(lambda _: None)
    path = tmp_path / "run" / BEST_NAME
    kept = path.read_bytes()
    _ = path.write_bytes(kept[:100])
    with pytest.raises(StateError, match=r"is damaged.*Train anew in another folder"):
        _ = trainer()
    flipped = bytearray(kept)
    flipped[-1] ^= 1
    _ = path.write_bytes(flipped)
    with pytest.raises(StateError, match=r"expected digest.*Train anew in another folder"):
        _ = trainer().train(lambda _: None)
    path.unlink()
    with pytest.raises(StateError, match=r"or missing.*Train anew in another folder"):
        _ = trainer().train(lambda _: None)


def test_impossible_validations_are_refused():
    for name in ("num_segments", "num_samples", "every", "num_stages"):
        with pytest.raises(ConfigError, match="Every option of a validation must be at least 1"):
            _ = replace(RUN.validation, **{name: 0})
    with pytest.raises(ConfigError, match="Got 4 of 3"):
        _ = replace(RUN, validation=replace(RUN.validation, num_stages=4))


@pytest.mark.parametrize("recipe", [rmt_encoder, rmt_encoder_tiny])
def test_recipes_choose_by_long_texts_where_facts_stand_anywhere(recipe):
    assert recipe("memorise").validation is None
    for kind in ("detect_and_memorise", "reasoning"):
        run = recipe(kind)
        validated = [s for n, s in enumerate(run.stages) if run.is_validated(n)]
        assert {stage.memory_changes for stage in validated} == {("memory_noise=0.8",)}
        assert run.validation.num_segments > 10 * max(stage.num_segments for stage in run.stages)
