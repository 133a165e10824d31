"""What a row runs: kinds of work that write the same figures as the run that was recorded."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from armt.benchmarking.babilong import exam_of, train_recorded
from armt.benchmarking.bench import Bench
from armt.benchmarking.config import changed_config
from armt.benchmarking.records import RecordBook
from armt.benchmarking.retrieval import RetrievalExam
from armt.benchmarking.shapes import model_shape
from armt.benchmarking.sweep import default_device, plan, run_sweep
from armt.comparison.config import SETTINGS
from armt.comparison.run import RECORDS_NAME, failures_in, run_comparison
from armt.core.errors import ConfigError
from armt.recipes.registry import RECIPES
from armt.training.callbacks import TrainingLog
from armt.training.callbacks.log import LOG_NAME
from armt.training.config import RunConfig
from armt.training.run import Prepared, prepare
from armt.training.trainer import Callback

RUN_FOLDER = "run"
"""Where a training stands within the folder of a row."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Where a row is run, and who is told."""

    out: Path
    """Folder of the figures, and of all that the work keeps to go on."""

    seed: int
    commit: str

    background: tuple[str, ...] = ()
    """Texts in place of those of the recipe."""

    tell: Callable[[str], None]
    """Is told what begins."""

    listen: Callable[[RunConfig], Callback]
    """Makes what is told how a training goes."""

    @property
    def book(self) -> RecordBook:
        """Takes the figures."""
        return RecordBook(self.out / RECORDS_NAME, self.seed, self.commit)


class Work(ABC):
    """Something that is run and measured."""

    reads_text: bool = False
    """Whether it is trained on texts that can be chosen."""

    @property
    @abstractmethod
    def told(self) -> str:
        """What is run, in one line."""

    @abstractmethod
    def run(self, job: Job) -> list[str]:
        """Writes the figures that are missing; returns what failed and why.

        Raises:
            ArmtError: it cannot be run so.
            StoppedError: the process was asked to stop; the same call goes on.
        """


@final
@dataclass(frozen=True)
class TrainAndRead(Work):
    """Trains a recipe of BABILong tasks and asks about texts of several lengths."""

    recipe: str
    cells: tuple[str, ...]
    """Each LENGTH:COUNT."""

    reads_text = True

    @property
    def told(self) -> str:
        """The recipe and the texts."""
        return f"train {self.recipe}, read {' '.join(self.cells)}"

    def run(self, job: Job) -> list[str]:
        """Trains or goes on training, and measures the cells that are missing."""
        config, prepared = _prepared(self.recipe, job)
        model = train_recorded(prepared, job.book)
        exam = exam_of(config, prepared.encoder, job.out / RUN_FOLDER, job.book)
        job.tell("reading books without a fact")
        exam.measure_writes(model)
        for cell in self.cells:
            job.tell(f"reading {cell}")
            exam.measure(model, [cell])
        return []


@final
@dataclass(frozen=True)
class TrainAndRecall(Work):
    """Trains a recipe of associative retrieval and asks after several numbers of pairs."""

    recipe: str
    nums_pairs: tuple[int, ...]
    num_samples: int = 1024

    @property
    def told(self) -> str:
        """The recipe and the numbers of pairs."""
        return f"train {self.recipe}, recall after {' '.join(map(str, self.nums_pairs))} pairs"

    def run(self, job: Job) -> list[str]:
        """Trains or goes on training, and asks what is missing."""
        config, prepared = _prepared(self.recipe, job)
        model = train_recorded(prepared, job.book)
        job.tell("recalling")
        RetrievalExam(config, self.nums_pairs, job.book, self.num_samples).measure(model)
        return []


@final
@dataclass(frozen=True)
class MeasureSpeed(Work):
    """Measures speed on this machine, as `armt bench` does; each run measures anew."""

    whats: tuple[str, ...]
    shapes: tuple[str, ...]
    changes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The command that does the same."""
        changes = "".join(f" --set {change}" for change in self.changes)
        return f"armt bench {' '.join(self.whats)} --shapes {','.join(self.shapes)}{changes}"

    def run(self, job: Job) -> list[str]:
        """Measures everything."""
        device = default_device()
        config = replace(changed_config(device.type, self.changes), seed=job.seed)
        cells = plan(self.whats, [model_shape(name) for name in self.shapes], config)
        bench = Bench(config, device, job.book)
        result = run_sweep(bench, cells, lambda cell: job.tell(cell.title))
        return [f"{failure.cell.title}: {failure.reason}" for failure in result.failures]


@final
@dataclass(frozen=True)
class Compare(Work):
    """Sets memories side by side, as `armt compare` does."""

    setting: str
    changes: tuple[str, ...] = ()

    reads_text = True

    @property
    def told(self) -> str:
        """The command that does the same."""
        changes = "".join(f" --set {change}" for change in self.changes)
        return f"armt compare {self.setting}{changes}"

    def run(self, job: Job) -> list[str]:
        """Runs the trials that are missing."""
        config = SETTINGS[self.setting].entry().changed(self.changes)
        text = replace(config.text, background=job.background or config.text.background)
        config = replace(config, text=text, seeds=(job.seed,), commit=job.commit)
        records = run_comparison(config, job.out, lambda progress: job.tell(progress.trial.title))
        failures = failures_in(records).items()
        return [f"{name}, {reason}" for name, reasons in failures for reason in reasons]


def _prepared(recipe: str, job: Job) -> tuple[RunConfig, Prepared]:
    """Returns a recipe with the job's seed and texts, and its run, ready to begin or to go on."""
    config = RECIPES[recipe].entry().replaced("seed", job.seed)
    if job.background:
        config = config.replaced("text.background", job.background)
    folder = job.out / RUN_FOLDER
    return config, prepare(config, folder, [TrainingLog(folder / LOG_NAME), job.listen(config)])


def check_texts(work: Work, background: Sequence[str]) -> None:
    """Refuses texts for work that reads none.

    Raises:
        ConfigError: there are such texts.
    """
    if background and not work.reads_text:
        raise ConfigError(f"This row reads no text. Got background {', '.join(background)}.")
