"""Tasks that make their own tokens instead of encoding texts: what they have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.core.shapes import Int, Tensor
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.numbered import NumberedStream

_TRAIN_SEED, _EVALUATION_SEED = 1, 2


@dataclass(frozen=True, kw_only=True)
class SymbolTaskConfig(Config):
    """Options of a task that makes its own tokens."""

    vocab_size: ClassVar[int]
    """Entries of the vocabulary."""

    end_id: ClassVar[int]
    """The token that ends an answer."""

    @abstractmethod
    def build(self) -> "SymbolTask":
        """Returns the task."""


class Prompts(NamedTuple):
    """Questions to be answered by a model."""

    prompt_ids: Int[Tensor, "B P"]

    answer_ids: Int[Tensor, "B A"]
    """The right tokens; `NO_LABEL` where any token will do."""


class SymbolTask(ABC):
    """Draws rows of symbols, vectorised over the whole batch."""

    @abstractmethod
    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns rows to train on."""

    @abstractmethod
    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns rows to be judged by."""

    def stream(self, batch_size: int, seed: int = 0) -> "SymbolStream":
        """Returns the endless training stream of `seed`."""
        return SymbolStream(self, batch_size, seed)

    def evaluation_batch(self, num_samples: int, seed: int = 0) -> Prompts:
        """Returns `num_samples` questions.

        Their random numbers are never those of a training batch.
        """
        return self.draw_prompts(np.random.default_rng([seed, _EVALUATION_SEED]), num_samples)


@final
class SymbolStream(NumberedStream[Batch]):
    """Training batches, each drawn from the seed and its number alone."""

    def __init__(self, task: SymbolTask, batch_size: int, seed: int) -> None:
        """Takes the task, the rows of a batch and the seed."""
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1. Got {batch_size}.")
        self.task = task
        self.batch_size = batch_size
        self.seed = seed

    def batch(self, number: int) -> Batch:
        """Returns batch `number`; see `NumberedStream`."""
        rng = np.random.default_rng([self.seed, _TRAIN_SEED, number])
        return self.task.draw_batch(rng, self.batch_size)


def batch_with_answers(rows: Int[Tensor, "B T"], answer_len: int) -> Batch:
    """Returns rows whose last `answer_len` tokens bear loss."""
    labels = torch.full_like(rows, NO_LABEL)
    labels[:, -answer_len:] = rows[:, -answer_len:]
    return Batch(input_ids=rows, labels=labels, label_start=rows.shape[1] - answer_len)


def split_answers(rows: Int[Tensor, "B T"], answer_len: int) -> Prompts:
    """Returns rows whose last `answer_len` tokens are asked for."""
    return Prompts(rows[:, :-answer_len], rows[:, -answer_len:])
