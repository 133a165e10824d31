"""Chooses the weights of an encoder by texts far longer than those that it is trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from armt.evaluation.fact_memory import fact_memory_scores
from armt.recurrence.encoder import RecurrentClassifier
from armt.tasks.fact_memory import FactMemory
from armt.training.classifier_config import ValidationConfig
from armt.training.weights import load_note, load_weights, save_weights

BEST_NAME = "best.safetensors"

_SCORE = "num_correct"

_REMEDY = "Train anew in another folder."


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
        self._num_correct = load_note(self._path, _SCORE, _REMEDY) if is_there else 0

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
            save_weights(self._path, self._model, {_SCORE: score.num_correct, "step": step})
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
        load_weights(self._path, self._model, _REMEDY)
