"""Factual recall: a subject and a relation among noise, and the one answer that belongs to both.

Source: Nichani, Lee, Bietti, "Understanding Factual Recall in Transformers via Associative
Memories", arXiv:2412.06538. Every relation has answers of its own, so that a model which knows the
relation alone is left with `log num_answers` of loss. The facts are asked again and again, the
noise around them is new each time: it is storing that is tested, not generalising.

Where we differ: the answers of a relation are dealt out evenly among the subjects instead of drawn,
so that this loss is exact whatever the number of subjects.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch

from armt.core.config import Config
from armt.core.errors import ConfigError
from armt.core.shapes import Int, Tensor


@dataclass(frozen=True, kw_only=True)
class FactualRecallConfig(Config):
    """Options of `FactualRecall`."""

    num_subjects: int = 16
    """Subjects."""

    num_relations: int = 4
    """Relations; each subject has one answer for each."""

    num_answers: int = 8
    """Answers of one relation; no other relation has them."""

    sequence_len: int = 32
    """Tokens of a question: subject, relation, noise, and the end token behind them."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("num_subjects", "num_relations", "num_answers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.sequence_len < 3:
            raise ConfigError(
                "A question has a subject, a relation and an end, so `sequence_len` must be at "
                f"least 3. Got {self.sequence_len}."
            )
        if self.num_subjects % self.num_answers:
            raise ConfigError(
                "Answers are dealt out evenly, so `num_answers` must divide `num_subjects`. Got "
                f"{self.num_answers} for {self.num_subjects}."
            )

    @property
    def num_facts(self) -> int:
        """Pairs of a subject and a relation."""
        return self.num_subjects * self.num_relations

    @property
    def num_outputs(self) -> int:
        """Answers of all relations."""
        return self.num_answers * self.num_relations

    @property
    def num_noise_tokens(self) -> int:
        """Tokens that mean nothing; as many as subjects and relations together."""
        return self.num_subjects + self.num_relations

    @property
    def end_id(self) -> int:
        """The token at the end of every question, the last of the vocabulary."""
        return self.vocab_size - 1

    @property
    def vocab_size(self) -> int:
        """Subjects, relations, noise and the end token, in this order."""
        return 2 * self.num_noise_tokens + 1

    @property
    def chance_loss(self) -> float:
        """Loss in nats of a model that knows nothing."""
        return math.log(self.num_outputs)

    @property
    def relation_chance_loss(self) -> float:
        """Loss in nats of a model that knows the relation and nothing of the subject."""
        return math.log(self.num_answers)

    def build(self, seed: int = 0) -> "FactualRecall":
        """Returns the task with the facts of `seed`."""
        return FactualRecall(self, seed)


class Questions(NamedTuple):
    """Questions and what belongs to them."""

    ids: Int[Tensor, "B T"]
    relations: Int[Tensor, " B"]
    """Numbers of the relations asked for, from 0."""

    answers: Int[Tensor, " B"]
    """The right outputs; those of relation r are the numbers from `num_answers * r` on."""


@final
class FactualRecall:
    """A list of facts and questions about them."""

    def __init__(self, config: FactualRecallConfig, seed: int) -> None:
        """Deals out the answers of each relation."""
        self.config = config
        rng = np.random.default_rng(seed)
        dealt = np.tile(
            np.arange(config.num_subjects) % config.num_answers, (config.num_relations, 1)
        )
        first = config.num_answers * np.arange(config.num_relations)
        self.answers = torch.from_numpy(rng.permuted(dealt, axis=1).T + first)
        """The right output by subject and relation."""

    def draw(self, rng: np.random.Generator, num_rows: int) -> Questions:
        """Returns questions about random facts."""
        return self._ask(rng, rng.integers(self.config.num_facts, size=num_rows))

    def ask_all(self, rng: np.random.Generator, num_times: int = 1) -> Questions:
        """Returns `num_times` questions about every fact, each in new noise."""
        return self._ask(rng, np.tile(np.arange(self.config.num_facts), num_times))

    def _ask(self, rng: np.random.Generator, facts: np.ndarray) -> Questions:
        config, num_rows = self.config, len(facts)
        subjects, relations = np.divmod(facts, config.num_relations)
        shape = (num_rows, config.sequence_len)
        ids = config.num_noise_tokens + rng.integers(config.num_noise_tokens, size=shape)
        ids[:, -1] = config.end_id
        # distinct places: the second one steps over the first
        first = rng.integers(config.sequence_len - 1, size=num_rows)
        second = rng.integers(config.sequence_len - 2, size=num_rows)
        second += second >= first
        every = np.arange(num_rows)
        ids[every, first] = subjects
        ids[every, second] = config.num_subjects + relations
        asked = torch.from_numpy(relations)
        answers = self.answers[torch.from_numpy(subjects), asked]
        return Questions(torch.from_numpy(ids), asked, answers)
