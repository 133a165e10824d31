"""An encoder is trained in stages, repeats bit for bit, and is read back from its folder."""

from dataclasses import replace

import pytest
import torch

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.errors import ConfigError
from armt.evaluation.fact_memory import fact_memory_score
from armt.memories.rmt import RMTConfig
from armt.recipes.rmt_encoder import rmt_encoder, rmt_encoder_tiny
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong import Book, build_store
from armt.tasks.encoder import TokenizerEncoder
from armt.training.classifier import (
    ClassifierRunConfig,
    ClassifierStageConfig,
    ClassifierTrainer,
    build_classifier,
    build_task,
    load_classifier,
    save_classifier,
)
from tiny_boxed import PROSE, tiny_tokenizer

STAGES = (
    ClassifierStageConfig(num_segments=1, num_steps=240, learning_rate=3e-3, warmup_steps=20),
    ClassifierStageConfig(num_segments=2, num_steps=5, learning_rate=1e-3),
)
RUN = ClassifierRunConfig(
    name="test",
    backbone=TinyEncoderConfig(d_model=32, num_layers=2, num_heads=2, d_ffn=64, max_positions=48),
    memory=RMTConfig(num_memory_tokens=2),
    recurrence=RecurrenceConfig(segment_len=43),
    stages=STAGES,
    batch_size=16,
    log_every=80,
)


@pytest.fixture(scope="module")
def encoder():
    return TokenizerEncoder(tiny_tokenizer())


@pytest.fixture(scope="module")
def task(encoder):
    return build_task(RUN, build_store([Book("prose", PROSE * 4)], encoder), encoder)


@pytest.fixture(scope="module")
def trained(encoder, task):
    reports = []
    model = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN).train(reports.append)
    return model, reports


def test_the_loss_falls_and_reports_tell_the_stages(trained):
    _, reports = trained
    assert [(each.step, each.num_segments) for each in reports] == [
        (80, 1),
        (160, 1),
        (240, 1),
        (245, 2),
    ]
    assert reports[2].loss < 0.5 * reports[0].loss
    assert reports[2].accuracy > 2 * reports[0].accuracy > 0


def test_the_same_run_gives_the_same_weights(trained, encoder, task):
    again = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN).train(lambda _report: None)
    expected = trained[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())


def test_a_model_is_read_back_from_its_folder(trained, encoder, task, tmp_path):
    save_classifier(tmp_path, trained[0])
    loaded = load_classifier(tmp_path, RUN, encoder)
    batch = task.batch([3, 1], "test", 0)
    inputs = batch.input_ids, batch.attention_mask
    assert torch.equal(loaded(*inputs).logits, trained[0](*inputs).logits)
    scores = [
        fact_memory_score(model, task, 1, num_samples=20, batch_size=8)
        for model in (loaded, trained[0])
    ]
    assert scores[0] == scores[1]
    assert scores[0].num_samples == 20
    assert scores[0].num_correct > 10
    alone = fact_memory_score(loaded, task, 3, num_samples=20, is_memory_on=False)
    whole = fact_memory_score(loaded, task, 3, num_samples=20)
    assert 0 <= alone.num_correct < scores[0].num_correct
    assert whole.num_samples == alone.num_samples


def test_the_learning_rate_rises_and_falls():
    stage = ClassifierStageConfig(num_segments=1, num_steps=10, learning_rate=1.0, warmup_steps=4)
    rates = [stage.learning_rate_at(step) for step in range(10)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 0.5, 2 / 6, 1 / 6])
    for options in ({"num_steps": 0}, {"num_segments": 0}, {"warmup_steps": -1}):
        with pytest.raises(ConfigError, match="needs segments and steps"):
            _ = replace(stage, **options)


@pytest.mark.parametrize("recipe", [rmt_encoder, rmt_encoder_tiny])
@pytest.mark.parametrize("kind", ["memorise", "detect_and_memorise", "reasoning"])
def test_the_recipes_fit_their_encoder(recipe, kind):
    run = recipe(kind)
    num_positions = run.recurrence.segment_len + run.memory.num_memory_tokens + 3
    assert num_positions == run.backbone.max_positions
    assert run.kind == kind
    assert ClassifierRunConfig.from_dict(run.to_dict()) == run
