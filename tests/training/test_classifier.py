"""An encoder is trained in stages, repeats bit for bit, and is read back from its folder."""

import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from armt.backbones.tiny_encoder import TinyEncoderConfig
from armt.core.errors import ConfigError, StateError, StoppedError, StorageError
from armt.evaluation.fact_memory import fact_memory_scores
from armt.memories.rmt import RMTConfig
from armt.recipes.rmt_encoder import rmt_encoder, rmt_encoder_tiny
from armt.recurrence.config import RecurrenceConfig
from armt.tasks.babilong import Book, build_store
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.fact_memory import NO_ANSWER
from armt.training import checkpoint
from armt.training.classifier import (
    WEIGHTS_NAME,
    ClassifierStream,
    ClassifierTrainer,
    build_classifier,
    build_task,
    load_classifier,
    save_classifier,
)
from armt.training.classifier_config import ClassifierRunConfig, ClassifierStageConfig
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
def trained(encoder, task, tmp_path_factory):
    reports, folder = [], tmp_path_factory.mktemp("run")
    trainer = ClassifierTrainer(build_classifier(RUN, encoder), task, RUN, folder)
    return trainer.train(reports.append), reports


@pytest.fixture(scope="module")
def short(encoder, task, tmp_path_factory):
    """A run of six steps in two stages, its trainer at the end, and what it reported."""
    stages = (replace(STAGES[0], num_steps=4), replace(STAGES[1], num_steps=2))
    run, reports = replace(RUN, stages=stages, log_every=3), []
    folder = tmp_path_factory.mktemp("short")
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, folder)
    _ = trainer.train(reports.append)
    return run, trainer, reports


def same_weights(found, expected):
    weights = expected.state_dict()
    for name, value in found.state_dict().items():
        assert torch.equal(value, weights[name]), name


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


def test_a_resumed_run_is_bit_equal(short, encoder, task, tmp_path):
    run, whole, reports = short
    told = []

    def stop(report):
        told.append(report)
        os.kill(os.getpid(), signal.SIGTERM)

    def trainer(run=run):
        return ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match=r"after step 3\. The same command") as caught:
        _ = trainer().train(stop)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = trainer()
    assert (resumed.progress.step, resumed.progress.num_tokens) == (3, 3 * 16 * 43)
    _ = resumed.train(told.append)
    assert [(each.step, each.accuracy) for each in told] == [
        (each.step, each.accuracy) for each in reports
    ]
    same_weights(resumed.model, whole.model)
    for name, value in whole.optimizer.tensors().items():
        assert torch.equal(resumed.optimizer.tensors()[name], value), name
    assert trainer().train(told.append) is not None
    assert len(told) == len(reports)


def test_dropout_follows_from_the_seed_and_nothing_drawn_before(short, encoder, task, tmp_path):
    run = replace(short[0], backbone=replace(short[0].backbone, dropout=0.3))
    found = []
    for num_drawn in (0, 7):
        _ = torch.rand(num_drawn)
        model, folder = build_classifier(run, encoder), tmp_path / str(num_drawn)
        found.append(ClassifierTrainer(model, task, run, folder).train(lambda report: None))
    same_weights(*found)


def test_what_was_counted_before_a_stop_counts_after_it(short, encoder, task, tmp_path):
    run, _, reports = short
    stopped = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    learn, calls = stopped._learn, []

    def learn_and_stop(batch):
        learn(batch)
        calls.append(batch)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped._learn = learn_and_stop
    with pytest.raises(StoppedError, match="after step 2"):
        _ = stopped.train(lambda _report: None)
    told = []
    _ = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path).train(told.append)
    assert [each.accuracy for each in told] == [each.accuracy for each in reports]


def test_a_damaged_checkpoint_does_not_count_and_a_foreign_one_is_refused(
    short, encoder, task, tmp_path
):
    run = replace(short[0], save_every=2)
    _ = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path).train(lambda _: None)
    newest = tmp_path / "checkpoints" / "step-00000006"
    _ = (newest / "model.safetensors").write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"step-00000006' \(model\.safetensors is damaged\)"):
        again = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    assert again.progress.step == 4
    with pytest.raises(ConfigError, match=r"other options \(seed\)"):
        _ = ClassifierTrainer(again.model, task, replace(run, seed=1), tmp_path)
    other = replace(run, memory=RMTConfig(num_memory_tokens=1))
    shutil.rmtree(newest)
    with pytest.raises(StateError, match=r"another model: 1 differ, such as `memory\.layers"):
        _ = ClassifierTrainer(build_classifier(other, encoder), task, run, tmp_path)


def test_a_stage_ends_at_its_goal(short, encoder, task, tmp_path):
    stages = (replace(STAGES[0], num_steps=9, goal=0.01), replace(STAGES[1], num_steps=3))
    run, reports = replace(short[0], stages=stages), []
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    _ = trainer.train(reports.append)
    assert [(each.step, each.num_segments) for each in reports] == [(3, 1), (12, 2)]
    assert trainer.progress.num_told == 0
    with pytest.raises(ConfigError, match="`goal` must lie in"):
        _ = replace(STAGES[0], goal=2.0)


def test_texts_to_learn_to_read_with_are_shorter_than_a_segment(short, encoder, task, tmp_path):
    stages = (replace(STAGES[0], num_steps=2, text_len=40), replace(STAGES[1], num_steps=1))
    run = replace(short[0], stages=stages)
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    first = next(ClassifierStream(task, run, stages[0]).batches())
    assert first.input_ids.shape == (16, 40)
    assert first.attention_mask.all()
    _ = trainer.train(lambda _report: None)
    assert trainer.progress.num_tokens > 2 * 16 * 40 + 16 * 43
    for options in ({"num_segments": 2, "text_len": 30}, {"text_len": 0}):
        with pytest.raises(ConfigError, match="`text_len`"):
            _ = replace(STAGES[0], **options)


def test_half_precision_learns_on_whole_copies(short, encoder, task, tmp_path):
    run = replace(short[0], precision="bfloat16")
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    model = trainer.train(lambda _report: None)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in trainer.optimizer.masters} == {torch.float32}
    save_classifier(tmp_path, model)
    same_weights(load_classifier(tmp_path, run, encoder), model)


def test_a_model_is_read_back_from_its_folder(trained, encoder, task, tmp_path):
    save_classifier(tmp_path, trained[0])
    loaded = load_classifier(tmp_path, RUN, encoder)
    same_weights(loaded, trained[0])
    counts = {"num_samples": 20, "batch_size": 8}
    alone = fact_memory_scores(loaded, task, 1, **counts)
    assert alone == fact_memory_scores(trained[0], task, 1, **counts)
    assert list(alone) == ["on"]
    assert alone["on"].num_samples == 20
    assert alone["on"].num_correct > 10
    longer = fact_memory_scores(loaded, task, 3, **counts)
    assert list(longer) == ["on", "off"]
    assert 0 <= longer["off"].num_correct < alone["on"].num_correct
    assert longer["on"].num_samples == longer["off"].num_samples == 20


def test_weights_that_cannot_be_are_refused(trained, encoder, tmp_path):
    save_classifier(tmp_path, trained[0])
    _ = load_classifier(tmp_path, RUN, encoder)
    with pytest.raises(ConfigError, match=r"other options \(seed\)"):
        _ = load_classifier(tmp_path, replace(RUN, seed=1), encoder)
    path = tmp_path / WEIGHTS_NAME
    _ = path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StateError, match="is damaged"):
        _ = load_classifier(tmp_path, RUN, encoder)


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


def test_a_stage_puts_noise_on_the_memory(short, encoder, task, tmp_path):
    run, noises = short[0], []
    noisy = replace(run.stages[1], memory_changes=("memory_noise=0.5",))
    run = replace(run, stages=(run.stages[0], noisy))

    def note(report):
        noises.append((report.num_segments, model.memory.mechanisms[0].config.memory_noise))

    model = build_classifier(run, encoder)
    _ = ClassifierTrainer(model, task, run, tmp_path).train(note)
    assert set(noises) == {(1, 0.0), (2, 0.5)}
    assert model.memory.mechanisms[0].config == run.memory
    with pytest.raises(ConfigError, match="A stage may change: memory_noise"):
        _ = replace(run, stages=(replace(noisy, memory_changes=("num_memory_tokens=3",)),))


def test_a_stage_decides_how_late_facts_stand(encoder, task):
    store = build_store([Book("prose", PROSE * 4)], encoder)
    task = replace(task.config, kind="detect_and_memorise").build(store, encoder)
    stage = ClassifierStageConfig(num_segments=2, num_steps=1, learning_rate=1e-3)
    early, same, late = (
        next(ClassifierStream(task, RUN, replace(stage, lateness=lateness)).batches())
        for lateness in (1, 1, 4)
    )
    assert torch.equal(early.input_ids, same.input_ids)
    assert not torch.equal(early.input_ids, late.input_ids)
    with pytest.raises(ConfigError, match="`lateness` must be at least 1"):
        _ = task.changed(lateness=0, blank_share=0)


@pytest.mark.parametrize("wrong", [{"blank_share": 1.0}, {"lateness": 0}])
def test_a_later_stage_of_an_impossible_task_is_refused_at_once(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        _ = replace(RUN, stages=(STAGES[0], replace(STAGES[1], **wrong)))


def test_a_report_of_blank_texts_alone_tells_no_right_answers(encoder, task, tmp_path):
    stage = replace(STAGES[0], num_steps=1, blank_share=0.99)
    run, reports = replace(RUN, stages=(stage,), batch_size=1), []
    batch = next(ClassifierStream(task, run, stage).batches())
    assert batch.labels.tolist() == [NO_ANSWER]
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    _ = trainer.train(reports.append)
    assert [each.accuracy for each in reports] == [0.0]


def test_after_a_blank_text_every_class_is_to_be_as_likely(encoder, task, tmp_path):
    stage = replace(STAGES[0], num_steps=1, blank_share=0.5)
    run = replace(RUN, stages=(stage,))
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    batch = next(ClassifierStream(task, run, stage).batches())
    is_blank = batch.labels == NO_ANSWER
    assert 0 < is_blank.sum() < len(is_blank)
    logits = trainer.model(batch.input_ids, batch.attention_mask).logits.detach().log_softmax(-1)
    told = -logits[~is_blank].gather(1, batch.labels[~is_blank, None]).sum()
    expected = (told - logits[is_blank].mean(1).sum()) / len(logits)
    reports = []
    _ = trainer.train(reports.append)
    assert reports[0].loss == pytest.approx(float(expected), abs=1e-5)
    right = logits.argmax(1)[~is_blank] == batch.labels[~is_blank]
    assert reports[0].accuracy == pytest.approx(float(right.float().mean()))


def test_a_folder_in_which_another_process_trains_is_refused(
    short, encoder, task, tmp_path, monkeypatch
):
    run, _, _ = short
    trainer = ClassifierTrainer(build_classifier(run, encoder), task, run, tmp_path)
    monkeypatch.setattr(checkpoint, "_PATIENCE_S", 0.1)
    with (
        FileLock(tmp_path / "training.lock"),
        pytest.raises(StorageError, match="Another process is training"),
    ):
        _ = trainer.train(lambda report: None)
