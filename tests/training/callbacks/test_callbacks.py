import dataclasses
import io
import json
import math

import pytest
from matplotlib.image import imread
from rich.console import Console

from armt.core.errors import ArmtError, UnknownNameError
from armt.recipes.smoke import smoke
from armt.training.callbacks import Curves, Trackers, TrainingLog, TrainingProgress, trackers
from armt.training.callbacks.log import read_log
from armt.training.callbacks.progress import seconds_left
from armt.training.trainer import StepReport


def report(step: int = 10, **changes) -> StepReport:
    fields = {
        "step": step,
        "num_steps": 40,
        "stage": 0,
        "loss": 1.0 / step,
        "accuracy": 0.5,
        "learning_rate": 1e-3,
        "gradient_norm": 0.1,
        "tokens_per_s": 1234.0,
        "num_tokens": 100 * step,
        "num_skipped": 0,
        "seconds": 2.0 * step,
    }
    return StepReport(**(fields | changes))


def test_the_log_goes_on_where_it_stands(tmp_path):
    path = tmp_path / "run" / "log.jsonl"
    for step in (10, 20):
        TrainingLog(path).on_report(report(step))
    with path.open("ab") as file:
        _ = file.write(b'{"step": 30, "lo')
    TrainingLog(path).on_report(report(20, loss=0.25))
    assert len(path.read_text().splitlines()) == 3
    assert read_log(path) == [report(10), report(20, loss=0.25)]


def test_a_loss_that_is_no_number_stays_none(tmp_path):
    path = tmp_path / "log.jsonl"
    TrainingLog(path).on_report(report(loss=math.nan, gradient_norm=math.inf))
    row = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert (row["loss"], row["gradient_norm"]) == ("NaN", "Infinity")
    found = read_log(path)[0]
    assert math.isnan(found.loss)
    assert found.gradient_norm == math.inf


def test_the_curves_show_the_whole_log(tmp_path):
    log, picture = tmp_path / "log.jsonl", tmp_path / "curves.png"
    curves = Curves(log, picture)
    curves.on_end(None)
    assert not picture.exists()
    for step in range(1, 5):
        TrainingLog(log).on_report(report(step, stage=step // 3, loss=math.nan))
    curves.on_end(None)
    without_loss = imread(picture)
    for step in range(1, 5):
        TrainingLog(log).on_report(report(step, stage=step // 3))
    curves.on_end(None)
    assert (imread(picture) != without_loss).any()


def test_without_a_terminal_progress_is_a_line_now_and_then():
    text = io.StringIO()
    with TrainingProgress(Console(file=text), num_stages=2) as progress:
        for step in (10, 20, 30, 40):
            progress.on_report(report(step, stage=1, num_skipped=3))
        progress.on_end(None)
    first, last = text.getvalue().splitlines()
    assert first == (
        "stage 2/2, step 10/40, loss 0.1000, accuracy 50.0%, 1,234 tokens/s, 3 skipped, 1:00 left"
    )
    assert last.startswith("stage 2/2, step 40/40")
    assert last.endswith("0:00 left")


def test_on_a_terminal_progress_is_a_bar_that_is_taken_down():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=200)

    def train() -> None:
        with TrainingProgress(console) as progress:
            progress.on_report(report(10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert "step 10/40" in text.getvalue()
    assert text.getvalue().count("\x1b[?25l") == text.getvalue().count("\x1b[?25h") == 1


def test_the_time_left_is_that_of_the_steps_to_come():
    assert seconds_left(report(10)) == pytest.approx(60)
    assert seconds_left(report(40)) == 0


class Recorder:
    """Stands for a tracker of Accelerate."""

    requires_logging_directory = True
    made: list["Recorder"]

    def __init__(self, run_name: str, logging_dir: str) -> None:
        self.name, self.folder = run_name, logging_dir
        self.rows: list[tuple[int, dict]] = []
        self.is_finished = False
        Recorder.made.append(self)

    def store_init_configuration(self, values: dict) -> None:
        self.config = values

    def log(self, values: dict, step: int) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.is_finished = True


def test_trackers_get_the_finite_numbers(tmp_path, monkeypatch):
    Recorder.made = []
    monkeypatch.setattr(trackers, "LOGGER_TYPE_TO_CLASS", {"tensorboard": Recorder})
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["tensorboard"])
    callback = Trackers(["tensorboard"], smoke(), tmp_path)
    callback.on_report(report(10, loss=math.nan))
    callback.on_report(report(20))
    callback.on_end(None)
    [recorder] = Recorder.made
    assert (recorder.name, recorder.folder, recorder.is_finished) == ("smoke", str(tmp_path), True)
    assert [step for step, _ in recorder.rows] == [10, 20]
    assert "loss" not in recorder.rows[0][1]
    assert recorder.rows[1][1] == dataclasses.asdict(report(20))


def test_unknown_and_missing_trackers_are_told(tmp_path, monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorboard'"):
        _ = Trackers(["tensorbord"], smoke(), tmp_path)
    monkeypatch.setattr(trackers, "get_available_trackers", list)
    with pytest.raises(ArmtError, match="is not installed"):
        _ = Trackers(["tensorboard"], smoke(), tmp_path)
