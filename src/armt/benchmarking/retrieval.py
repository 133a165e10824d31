"""Measures models trained on associative retrieval: exact match by pairs, and size of the state."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from armt.backbones.modes import evaluation_mode
from armt.benchmarking.records import RecordBook
from armt.core.config import PlainTree
from armt.evaluation.retrieval import retrieval_scores
from armt.recurrence.model import Recurrent
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.config import RunConfig

EXACT_MATCH, STATE = "retrieval.exact_match", "memory.state_bytes"
"""Names of the figures."""


class RetrievalExam(NamedTuple):
    """What the model of a recipe of associative retrieval is asked, and where that is recorded."""

    config: RunConfig
    """The recipe; its last stage tells the task."""

    nums_pairs: tuple[int, ...]
    """How many pairs are written before one is asked for."""

    book: RecordBook
    """Takes the figures."""

    num_samples: int = 1024
    """Questions at each number of pairs."""

    told: Mapping[str, PlainTree] = {"changes": []}
    """What tells the run from others of its recipe, such as options changed, as typed."""

    @property
    def is_done(self) -> bool:
        """Whether every figure is recorded, so that there is nothing to train a model for."""
        return self._has_state and not self._missing

    def measure(self, model: Recurrent, batch_size: int | None = None) -> None:
        """Records what is missing, with so many questions read side by side; by default all.

        Raises:
            ConfigError: there are not so many different keys.
        """
        num_pairs, size = self._task.num_pairs, batch_size or self.num_samples
        if not self._has_state:
            nbytes = state_nbytes(model, self.config, num_pairs)
            _ = self.book.add(STATE, nbytes, "bytes", **self._about, segments=num_pairs)
        for number in self._missing:
            (score,) = retrieval_scores(
                model, self._task, [number], num_samples=self.num_samples, batch_size=size
            ).values()
            _ = self.book.add(EXACT_MATCH, score.accuracy, "share", **self._asked, tested=number)

    @property
    def _task(self) -> AssociativeRetrievalConfig:
        task = self.config.stages[-1].stream
        assert isinstance(task, AssociativeRetrievalConfig), "a recipe of associative retrieval"
        return task

    @property
    def _about(self) -> dict[str, PlainTree]:
        return {"recipe": self.config.name, **self.told}

    @property
    def _asked(self) -> dict[str, PlainTree]:
        kind, trained = self._task.kind, self._task.num_pairs
        asked: dict[str, PlainTree] = {"task": kind, "memory": "on", "trained": trained}
        return asked | self._about | {"num_samples": self.num_samples}

    @property
    def _has_state(self) -> bool:
        return self.book.holds(STATE, **self._about)

    @property
    def _missing(self) -> list[int]:
        return [
            number
            for number in self.nums_pairs
            if not self.book.holds(EXACT_MATCH, **self._asked, tested=number)
        ]


def state_nbytes(model: Recurrent, config: RunConfig, num_segments: int) -> int:
    """Returns the bytes of one row's state after so many segments, the backbone's own included.

    A state of fixed size is as large before the first segment.
    """
    states = model.memory.init_states(1)
    if not all(memory.is_bounded for memory in model.memory.mechanisms):
        ids = torch.zeros(1, num_segments * config.recurrence.segment_len, dtype=torch.long)
        with evaluation_mode(model):
            states = model.read(ids).layers
    return sum(state.nbytes for state in states) + config.backbone.state_nbytes
