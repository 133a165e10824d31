import math
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch

from armt.core.errors import ArmtError, ConfigError, StoppedError
from armt.memories.armt import ARMTConfig
from armt.memories.hmt import HMTConfig
from armt.tasks.contract import Batch, TrainingStream
from armt.tasks.language_modeling import LanguageModelingConfig
from armt.training.config import StageConfig, TextConfig
from armt.training.graphed import GraphedStepper
from armt.training.step import EagerStepper, Stepper
from armt.training.trainer import Trainer
from tiny_boxed import PROSE
from training.cpu_graphs import use_cpu_graphs
from training.runs import (
    SEGMENT_LEN,
    TASK,
    Reports,
    carried_run,
    carried_trainer,
    retrieval_run,
    retrieval_trainer,
)

RUNS = {
    "retrieval": (retrieval_run, retrieval_trainer),
    "carried": (carried_run, carried_trainer),
}


class StopsAt(Reports):
    """Breaks a run off while it reports a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_report(self, report) -> None:
        super().on_report(report)
        if report.step == self.step:
            raise KeyboardInterrupt


class Signals(Reports):
    """Sends a signal to the process while a step is reported."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__()
        self.step, self.number = step, number

    def on_report(self, report) -> None:
        super().on_report(report)
        if report.step == self.step:
            os.kill(os.getpid(), self.number)


def everything(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a run has come to, by name."""
    found = {f"weight.{name}": value for name, value in trainer.recurrent.state_dict().items()}
    found |= {f"optimizer.{name}": value for name, value in trainer.optimizer.tensors().items()}
    for number, layer in enumerate(trainer.carried or ()):
        found |= {f"carried.{number}.{name}": value for name, value in layer.tensors().items()}
    return {name: value.detach().clone() for name, value in found.items()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_after_the_step_and_nothing_is_lost(tmp_path, number, code):
    before = signal.getsignal(number)
    stopped = carried_trainer(carried_run(), tmp_path / "stopped", Signals(2, number))
    with pytest.raises(StoppedError, match=r"after step 2\. The same command goes on") as caught:
        stopped.train()
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    resumed = carried_trainer(carried_run(), tmp_path / "stopped", Reports())
    assert resumed.progress.step == 2
    resumed.train()
    whole = carried_trainer(carried_run(), tmp_path / "whole", Reports())
    whole.train()
    for name, value in everything(whole).items():
        assert torch.equal(everything(resumed)[name], value), name


def test_the_loss_falls(tmp_path):
    stage = replace(retrieval_run(4).stages[0], num_steps=40, batch_size=32)
    run, told = retrieval_run(stages=(stage,), log_every=5, save_every=100), Reports()
    trainer = retrieval_trainer(run, tmp_path, told)
    assert trainer.train() is trainer.recurrent
    assert [report.step for report in told.reports] == [*range(5, 45, 5)]
    first, last = told.reports[0], told.reports[-1]
    assert first.loss > 3.5  # near that of 128 tokens, all alike
    assert last.loss < 2.0
    assert first.accuracy < last.accuracy > 0.5
    assert told.num_ends == 1
    assert not trainer.recurrent.training


def test_a_trained_model_reads_with_an_overlap_that_its_training_had_not(tmp_path):
    run = carried_run(reading_overlap_len=4)
    overlaps = []

    class Looks(Reports):
        def on_report(self, report) -> None:
            overlaps.append(trainer.recurrent.recurrence.overlap_len)

        def on_end(self, model) -> None:
            overlaps.append(model.recurrence.overlap_len)

    trainer = carried_trainer(run, tmp_path / "run", Looks())
    plain = carried_trainer(carried_run(), tmp_path / "plain", Reports())
    _ = plain.train()
    for _ in range(2):  # the second time there is nothing left to train
        assert trainer.train().recurrence == replace(run.recurrence, overlap_len=4)
    assert overlaps == [0] * 6 + [4, 4]
    for name, value in everything(plain).items():
        assert torch.equal(everything(trainer)[name], value), name
    assert plain.recurrent.recurrence == run.recurrence
    again = carried_trainer(run, tmp_path / "run", Reports())
    assert again.trained().recurrence.overlap_len == 4


def test_an_overlap_of_whole_segments_is_refused():
    with pytest.raises(ConfigError, match="overlap_len"):
        _ = carried_run(reading_overlap_len=SEGMENT_LEN)


def test_a_memory_is_trained_in_stages_with_other_options(tmp_path):
    run = retrieval_run(memory=HMTConfig(num_cached=4, num_sensory=0))
    run = run.replaced("stages.0.memory_changes", "[use_recall=false]")
    whole = retrieval_trainer(run, tmp_path / "whole")
    start = {name: value.clone() for name, value in whole.recurrent.memory.named_parameters()}
    first = retrieval_trainer(replace(run, stages=run.stages[:1]), tmp_path / "first").train()
    _ = whole.train()
    moved = [
        {name for name, value in model.memory.named_parameters() if not value.equal(start[name])}
        for model in (first, whole.recurrent)
    ]
    assert moved == [{"layers.0.first_memory"}, set(start)]
    assert all(model.memory.layers[0].config == run.memory for model in (first, whole.recurrent))


def test_a_report_says_how_far_the_run_is(tmp_path):
    told = Reports()
    _ = retrieval_trainer(retrieval_run(6), tmp_path, told).train()
    assert [report.stage for report in told.reports] == [0, 0, 0, 0, 1, 1]
    assert [report.learning_rate for report in told.reports] == [1e-2] * 4 + [5e-3] * 2
    assert [report.num_tokens for report in told.reports] == [
        step * 8 * TASK.sequence_len for step in range(1, 7)
    ]
    assert all(report.num_steps == 6 and report.num_skipped == 0 for report in told.reports)
    assert all(report.tokens_per_s > 0 and report.gradient_norm > 0 for report in told.reports)
    seconds = [report.seconds for report in told.reports]
    assert seconds == sorted(set(seconds))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", RUNS)
def test_a_resumed_run_is_bit_equal(kind, precision, tmp_path):
    make_run, make_trainer = RUNS[kind]
    run = make_run(precision=precision)
    whole = make_trainer(run, tmp_path / "whole")
    _ = whole.train()
    broken = make_trainer(run, tmp_path / "broken", StopsAt(5))
    with pytest.raises(KeyboardInterrupt):
        _ = broken.train()
    told = Reports()
    resumed = make_trainer(run, tmp_path / "broken", told)
    assert resumed.progress.step == 3
    assert (resumed.carried is not None) == (kind == "carried")
    _ = resumed.train()
    assert [report.step for report in told.reports] == [4, 5, 6]
    found, expected = everything(resumed), everything(whole)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert resumed.progress.num_tokens == whole.progress.num_tokens


def test_noise_follows_from_the_seed_and_nothing_drawn_before(tmp_path):
    memory = ARMTConfig(num_memory_tokens=1, d_mem=8, gate="hard", gate_noise=1.0)

    def train(name, memory, num_drawn=0):
        _ = torch.rand(num_drawn)
        trainer = carried_trainer(carried_run(memory=memory), tmp_path / name)
        _ = trainer.train()
        return everything(trainer)

    first, again = train("first", memory), train("again", memory, 7)
    quiet = train("quiet", replace(memory, gate_noise=0.0))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert any(not torch.equal(quiet[name], value) for name, value in first.items())


def test_what_is_carried_matters_for_a_resumed_run(tmp_path):
    run = carried_run()
    with pytest.raises(KeyboardInterrupt):
        _ = carried_trainer(run, tmp_path, StopsAt(4)).train()
    resumed, forgetful = (carried_trainer(run, tmp_path) for _ in range(2))
    assert all(layer.association.abs().sum() > 0 for layer in resumed.carried)
    forgetful.carried = None
    for trainer in (resumed, forgetful):
        _ = trainer.train()
    found = [everything(trainer) for trainer in (resumed, forgetful)]
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_half_precision_weights_follow_single_precision_ones(tmp_path):
    trainer = carried_trainer(carried_run(precision="bfloat16"), tmp_path)
    _ = trainer.train()
    for parameter, master in zip(
        trainer.optimizer.parameters, trainer.optimizer.masters, strict=True
    ):
        assert (parameter.dtype, master.dtype) == (torch.bfloat16, torch.float32)
        assert torch.equal(parameter, master.bfloat16())
        assert not torch.equal(parameter.float(), master)
    assert all(layer.association.dtype == torch.float32 for layer in trainer.carried)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = retrieval_trainer(retrieval_run(), tmp_path)
    _ = first.train()
    told = Reports()
    again = retrieval_trainer(retrieval_run(), tmp_path, told)
    _ = again.train()
    assert (told.reports, told.num_ends) == ([], 1)
    for name, value in everything(first).items():
        assert torch.equal(everything(again)[name], value)


@dataclass
class Spoiled:
    """A stream whose loss is NaN at some steps."""

    inner: TrainingStream
    steps: tuple[int, ...]

    def batches(self, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(self.inner.batches(start), start):
            weights = torch.ones(batch.input_ids.shape)
            weights = weights.fill_(math.nan) if step in self.steps else weights
            yield replace(batch, label_weights=weights)


def spoiled_trainer(folder, steps, **changes) -> tuple[Trainer, Reports]:
    told, run = Reports(), carried_run(**changes)
    run = replace(run, stages=(replace(run.stages[0], num_steps=4),))
    trainer = carried_trainer(run, folder, told)
    trainer.streams = [Spoiled(trainer.streams[0], steps)]
    return trainer, told


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path):
    trainer, told = spoiled_trainer(tmp_path, (1, 2), max_skipped=2)
    weights = []
    trainer.optimizer.zero_grad = lambda zero=trainer.optimizer.zero_grad: (
        weights.append(everything(trainer)),
        zero(),
    )
    _ = trainer.train()
    assert [report.num_skipped for report in told.reports] == [0, 1, 2, 2]
    assert [math.isnan(report.loss) for report in told.reports] == [False, True, True, False]
    assert trainer.progress.num_skipped_in_row == 0
    names = list(weights[0])
    assert all(torch.equal(weights[0][name], weights[2][name]) for name in names)
    assert any(not torch.equal(weights[2][name], weights[3][name]) for name in names)
    assert all(torch.isfinite(value).all() for value in weights[3].values())


def test_too_many_of_them_in_a_row_end_the_run(tmp_path):
    trainer, told = spoiled_trainer(tmp_path, (0, 2, 3), max_skipped=1)
    with pytest.raises(ArmtError, match=r"2 steps in a row .* step 4\)\. Lower the learning"):
        _ = trainer.train()
    assert [report.num_skipped for report in told.reports] == [0 + 1, 1, 2]


class SpoilsOne:
    """A stepper whose fourth batch, the first with a row that begins anew amid a text, is NaN."""

    def __init__(self, stepper: Stepper, trainer: Trainer) -> None:
        self.stepper, self.trainer = stepper, trainer
        self.calls = []

    def __call__(self, batch, carried):
        result = self.stepper(batch, carried)
        self.calls.append((batch.resets, carried))
        if len(self.calls) != 4:
            return result
        next(self.trainer.model.parameters()).grad.fill_(math.nan)
        nan = tuple(layer.map(lambda x: x * math.nan) for layer in result.carried)
        return result._replace(carried=nan)

    def carried_on(self, result, is_taken):
        return self.stepper.carried_on(result, is_taken)


@pytest.mark.parametrize("kind", [EagerStepper, GraphedStepper])
def test_past_a_skipped_step_its_rows_go_on_from_where_they_started(tmp_path, monkeypatch, kind):
    """Those that began anew with it are empty, and a state that is not finite is not carried on."""
    use_cpu_graphs(monkeypatch)
    trainer = carried_trainer(carried_run(), tmp_path)
    make, made = trainer._stepper, []

    def spoiling(stage):
        eager = make(stage)
        stepper = eager if kind is EagerStepper else GraphedStepper(eager)
        made.append(SpoilsOne(stepper, trainer))
        return made[0]

    trainer._stepper = spoiling
    _ = trainer.train()
    assert trainer.progress.num_skipped == 1
    (resets, before), (_, after) = made[0].calls[3:5]
    assert resets.tolist() == [False, False, True, False]
    for old, new in zip(before, after, strict=True):
        assert old.association[resets].abs().sum() > 0
        assert new.association[resets].abs().sum() == 0
        assert torch.equal(new.association[~resets], old.association[~resets])
        assert not new.association.requires_grad
    assert all(torch.isfinite(value).all() for value in everything(trainer).values())


def test_a_new_stage_begins_with_an_empty_memory(tmp_path):
    run = carried_run()
    stage = replace(run.stages[0], num_steps=2)
    trainer = carried_trainer(replace(run, stages=(stage, stage)), tmp_path)
    trainer.streams = trainer.streams * 2
    starts = []
    make = trainer._stepper
    trainer._stepper = lambda stage: starts.append(trainer.carried) or make(stage)
    _ = trainer.train()
    assert starts == [None, None]
    assert trainer.carried is not None


@pytest.mark.parametrize(
    ("path", "value"), [("seed", 1), ("stages.1.num_steps", 7), ("memory.d_mem", 4)]
)
def test_a_folder_of_another_run_is_refused(path, value, tmp_path):
    run = retrieval_run()
    _ = retrieval_trainer(run, tmp_path)
    kept = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=rf"other options \({path}\)"):
        _ = retrieval_trainer(run.replaced(path, value), tmp_path)
    assert (tmp_path / "config.json").read_bytes() == kept
    _ = retrieval_trainer(run, tmp_path)


def test_a_loss_that_the_memory_has_not_got_is_told_before_a_step(tmp_path):
    config = retrieval_run().replaced("stages.1.memory_loss", 0.1)
    with pytest.raises(ConfigError, match="ARMT has no loss of its own"):
        _ = retrieval_trainer(config, tmp_path)


def test_a_stage_of_facts_needs_texts(tmp_path):
    with pytest.raises(ConfigError, match="needs `text`"):
        _ = retrieval_trainer(carried_run(text=None), tmp_path)


def test_a_stage_of_language_modelling_learns_from_the_books_of_a_run(tmp_path):
    books = tmp_path / "books"
    books.mkdir()
    for number in range(4):
        _ = (books / f"{number}.txt").write_text(PROSE * 20, encoding="utf-8")
    stage = StageConfig(
        num_steps=2,
        learning_rate=1e-2,
        stream=LanguageModelingConfig(segment_len=16, num_segments=2),
        batch_size=4,
    )
    text = TextConfig(background=(str(books),), vocab_size=300)
    run = carried_run(stages=(stage,), text=text)
    trainer = retrieval_trainer(run, tmp_path / "run", told := Reports())
    _ = trainer.train()
    batch = next(trainer.streams[0].batches())
    assert batch.input_ids.shape == (4, 32)
    assert torch.equal(batch.labels, batch.input_ids)
    assert told.reports[-1].step == 2
    assert math.isfinite(told.reports[-1].loss)
