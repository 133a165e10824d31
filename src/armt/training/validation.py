"""Chooses the weights of an encoder by texts far longer than those that it is trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, final

from armt.core.errors import StateError
from armt.evaluation.fact_memory import fact_memory_scores
from armt.recurrence.encoder import RecurrentClassifier
from armt.recurrence.tensor_file import FileKind, read_header, read_tensors, write_tensors
from armt.tasks.fact_memory import FactMemory
from armt.training.checkpoint import fill
from armt.training.classifier_config import ValidationConfig

BEST_NAME = "best.safetensors"

_KIND = FileKind(noun="file of weights", format="armt-best-weights", version=1, error=StateError)

_SCORE = "num_correct"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """What a validation found."""

    step: int
    """Place in the curriculum, as in the reports of training."""

    num_segments: int
    """Segments of each text."""

    num_samples: int
    """Texts."""

    accuracy: float
    """Share of right answers."""

    is_best: bool
    """Whether these weights are kept: none before were right more often."""


@final
class BestWeights:
    """The weights of a run that were right most often over long texts, kept in its folder."""

    def __init__(
        self, model: RecurrentClassifier, task: FactMemory, config: ValidationConfig, folder: Path
    ) -> None:
        """Goes on from what the folder holds.

        Args:
            model: whose weights are looked at each time.
            task: over books that are not trained on, nor kept for the test.
            config: which texts.
            folder: the run's.

        Raises:
            StateError: the weights in the folder are damaged.
        """
        self._model, self._task, self._config = model, task, config
        self._path = folder / BEST_NAME
        is_there = self._path.exists()
        self._num_correct: int = self._read(read_header)[_SCORE] if is_there else 0

    def is_due(self, num_steps: int) -> bool:
        """Says whether to read the long texts after so many steps of a stage."""
        return num_steps % self._config.every == 0

    def validate(self, step: int) -> ValidationReport:
        """Reads the long texts; keeps the present weights unless others were right more often.

        Training goes on as if nothing had been read: there is no dropout or noise meanwhile, so
        that nothing is drawn. To do it twice, as a run does that goes on from an earlier
        checkpoint, changes nothing either: of equally good weights the later ones are kept.
        """
        is_training, config = self._model.training, self._config
        scores = fact_memory_scores(
            self._model.eval(),
            self._task,
            config.num_segments,
            num_samples=config.num_samples,
            batch_size=config.num_samples,
            split="validation",
        )
        _ = self._model.train(is_training)
        score = scores["on"]
        is_best = score.num_correct >= self._num_correct
        if is_best:
            weights = self._model.state_dict()
            _ = write_tensors(self._path, _KIND, {_SCORE: score.num_correct}, weights)
            self._num_correct = score.num_correct
        return ValidationReport(
            step=step,
            num_segments=config.num_segments,
            num_samples=score.num_samples,
            accuracy=score.accuracy,
            is_best=is_best,
        )

    def fill(self) -> None:
        """Gives the model the weights that were kept.

        Raises:
            StateError: they are missing or damaged.
        """
        fill(self._model, self._read(read_tensors).tensors, self._path)

    def _read(self, read: Callable[[Path, FileKind], T]) -> T:
        """Reads the file in the folder.

        Raises:
            StateError: it is missing or damaged.
        """
        try:
            return read(self._path, _KIND)
        except StateError as error:
            raise StateError(
                f"'{self._path}' is damaged or missing: {error} Train anew in another folder."
            ) from error
