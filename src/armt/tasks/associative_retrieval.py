"""Associative retrieval: remember pairs of keys and values, or rewrite them, and recall one.

Layout (ARMT, arXiv:2407.04841, section 4.1): for each pair the digits of the key, SEP, the digits
of the value, EOS; at the end the key asked for, GEN, its value, EOS. One pair is one segment.
Keys are numbers in base 16, least significant digit first.
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch

from armt.core.errors import ConfigError
from armt.tasks.contract import NO_LABEL, Batch
from armt.tasks.symbols import Prompts, SymbolTask, SymbolTaskConfig, split_answers

NUM_SYMBOLS = 16
"""Digits of keys and values."""

SEP_ID, GEN_ID, END_ID = 100, 101, 102
"""Between key and value; before the value asked for; after each pair."""

VOCAB_SIZE = 128
"""Entries of the vocabulary."""

IntArray = npt.NDArray[np.int64]

_DENSE_SHARE = 4


@dataclass(frozen=True, kw_only=True)
class AssociativeRetrievalConfig(SymbolTaskConfig):
    """Options of `AssociativeRetrieval`."""

    vocab_size = VOCAB_SIZE
    end_id = END_ID

    kind: Literal["remember", "rewrite"] = "remember"
    """`remember`: all keys differ. `rewrite`: keys repeat, and the last value of a key counts."""

    num_pairs: int = 50
    """Pairs before the question."""

    key_len: int = 2
    """Digits of a key; there are 16 ** key_len keys."""

    value_len: int = 1
    """Digits of a value."""

    use_vary: bool = False
    """Whether each training batch keeps a random number of its last pairs, from 1 to all."""

    num_questions: int = 1
    """Questions that are asked of each row in training, each for itself after all pairs."""

    is_asked_in_row: bool = False
    """Whether the questions follow each other at the end of a training row instead, each with its
    answer: what keeps its state in the backbone cannot be asked twice from the same one."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.kind not in ("remember", "rewrite"):
            raise ConfigError(f"`kind` must be 'remember' or 'rewrite'. Got {self.kind!r}.")
        for name in ("num_pairs", "key_len", "value_len", "num_questions"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.key_len > 12:
            raise ConfigError(f"`key_len` must be at most 12. Got {self.key_len}.")
        if self.kind == "remember" and self.num_pairs > self.num_keys:
            raise ConfigError(
                f"There are only {self.num_keys} different keys of {self.key_len} digits. "
                f"Got `num_pairs` {self.num_pairs}: lower it or raise `key_len`."
            )

    @property
    def num_keys(self) -> int:
        """Number of possible keys."""
        return NUM_SYMBOLS**self.key_len

    @property
    def segment_len(self) -> int:
        """Tokens of one pair, and of the question with its answer."""
        return self.key_len + self.value_len + 2

    @property
    def sequence_len(self) -> int:
        """Tokens of all pairs and the question with its answer."""
        return (self.num_pairs + 1) * self.segment_len

    def build(self) -> "AssociativeRetrieval":
        """Returns the task."""
        return AssociativeRetrieval(self)


@final
class AssociativeRetrieval(SymbolTask):
    """Draws rows of pairs; loss on the digits of each value asked for and the EOS after it."""

    def __init__(self, config: AssociativeRetrievalConfig) -> None:
        """Takes the options."""
        self.config = config

    def draw_batch(self, rng: np.random.Generator, num_rows: int) -> Batch:
        """Returns rows to train on, with a random number of pairs if `use_vary` says so."""
        config = self.config
        kept = int(rng.integers(1, config.num_pairs + 1)) if config.use_vary else None
        pairs, questions = self.draw_parts(rng, num_rows, kept, config.num_questions)
        labels = np.full_like(questions, NO_LABEL)
        labels[..., -config.value_len - 1 :] = questions[..., -config.value_len - 1 :]
        label_start = questions.shape[-1] - config.value_len - 1
        if config.is_asked_in_row:
            rows = [pairs, questions.reshape(num_rows, -1)]
            told = [np.full_like(pairs, NO_LABEL), labels.reshape(num_rows, -1)]
            return Batch(
                input_ids=torch.from_numpy(np.concatenate(rows, axis=1)),
                labels=torch.from_numpy(np.concatenate(told, axis=1)),
                label_start=pairs.shape[1] + label_start,
            )
        return Batch(
            input_ids=torch.from_numpy(pairs),
            labels=torch.full(pairs.shape, NO_LABEL),
            question_ids=torch.from_numpy(questions),
            question_labels=torch.from_numpy(labels),
            label_start=label_start,
        )

    def draw_prompts(self, rng: np.random.Generator, num_rows: int) -> Prompts:
        """Returns questions with all pairs, whatever `use_vary` says."""
        rows = torch.from_numpy(self.draw(rng, num_rows))
        return split_answers(rows, self.config.value_len + 1)

    def draw(
        self, rng: np.random.Generator, num_rows: int, num_kept: int | None = None
    ) -> IntArray:
        """Draws complete rows: pairs, question and answer; see `draw_parts`."""
        pairs, questions = self.draw_parts(rng, num_rows, num_kept)
        return np.concatenate([pairs, questions[:, 0]], axis=1)

    def draw_parts(
        self,
        rng: np.random.Generator,
        num_rows: int,
        num_kept: int | None = None,
        num_questions: int = 1,
    ) -> tuple[IntArray, IntArray]:
        """Draws pairs (rows, tokens), and questions with answers (rows, questions, tokens).

        Args:
            rng: source of chance.
            num_rows: number of rows.
            num_kept: how many of the last pairs are kept; all, if none is given. The targets are
                drawn among those kept.
            num_questions: how many questions are drawn for a row, each from all its keys.
        """
        config = self.config
        kept = config.num_pairs if num_kept is None else num_kept
        keys = self._draw_keys(rng, num_rows)[:, -kept:]
        values = rng.integers(NUM_SYMBOLS, size=(num_rows, config.num_pairs, config.value_len))
        values = values[:, -kept:]
        if config.kind == "remember":
            targets = rng.integers(kept, size=(num_rows, num_questions))
        else:
            targets = _draw_last_occurrence(rng, keys, num_questions)
        rows = np.empty((num_rows, kept + num_questions, config.segment_len), dtype=np.int64)
        key_part, value_part = rows[..., : config.key_len], rows[..., config.key_len + 1 : -1]
        rows[..., config.key_len] = SEP_ID
        rows[:, kept:, config.key_len] = GEN_ID
        rows[..., -1] = END_ID
        place_values = NUM_SYMBOLS ** np.arange(config.key_len)
        key_part[:, :kept] = (keys[..., None] // place_values) % NUM_SYMBOLS
        value_part[:, :kept] = values
        every = np.arange(num_rows)[:, None]
        key_part[:, kept:] = key_part[every, targets]
        value_part[:, kept:] = value_part[every, targets]
        return rows[:, :kept].reshape(num_rows, -1), rows[:, kept:]

    def estimated_capacity(self, exact_match: float) -> float:
        """Returns how many pairs a memory holds that answers this share of questions.

        Paper, appendix B: k = n (v a - 1) / (v - 1) with n pairs, v possible values and a the
        exact match in [0, 1]: the answers that are not remembered are guessed.
        """
        num_values = NUM_SYMBOLS**self.config.value_len
        return self.config.num_pairs * (num_values * exact_match - 1) / (num_values - 1)

    def _draw_keys(self, rng: np.random.Generator, num_rows: int) -> IntArray:
        config = self.config
        if config.kind == "rewrite":
            return rng.integers(config.num_keys, size=(num_rows, config.num_pairs))
        if config.num_keys <= _DENSE_SHARE * config.num_pairs:
            all_keys = np.tile(np.arange(config.num_keys), (num_rows, 1))
            return rng.permuted(all_keys, axis=1)[:, : config.num_pairs]
        return _draw_distinct(rng, config.num_keys, (num_rows, config.num_pairs))


def _draw_distinct(rng: np.random.Generator, num_keys: int, shape: tuple[int, int]) -> IntArray:
    """Draws rows of distinct keys by redrawing repeated ones.

    Which entries are redrawn depends only on which are equal, so all keys are alike and the result
    is uniform. The caller keeps the row short against `num_keys`, so a few rounds are enough.
    """
    keys = rng.integers(num_keys, size=shape)
    stale = np.arange(shape[0])
    while len(stale):
        order, is_last = _group(keys[stale])
        rows, columns = np.nonzero(~is_last)
        keys[stale[rows], order[rows, columns]] = rng.integers(num_keys, size=len(rows))
        stale = stale[np.unique(rows)]
    return keys


def _draw_last_occurrence(rng: np.random.Generator, keys: IntArray, num_drawn: int) -> IntArray:
    """Draws for each row some of its distinct keys, with replacement; says where each stands last.

    Returns columns of `keys`, (rows, `num_drawn`).
    """
    order, is_last = _group(keys)
    luck = rng.random((len(keys), num_drawn, keys.shape[1]))
    chosen = np.where(is_last[:, None], luck, -1.0).argmax(axis=-1)
    return order[np.arange(len(keys))[:, None], chosen]


def _group(keys: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Returns the columns of each row sorted by key and then by column, and each key's last one."""
    num_columns = keys.shape[1]
    codes = np.sort(keys * num_columns + np.arange(num_columns), axis=1)
    sorted_keys = codes // num_columns
    is_last = np.ones(keys.shape, dtype=np.bool_)
    is_last[:, :-1] = sorted_keys[:, :-1] != sorted_keys[:, 1:]
    return codes % num_columns, is_last
