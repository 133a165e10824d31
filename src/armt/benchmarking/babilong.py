"""Measures models trained on BABILong tasks: answers by length in both arms, and false writes."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from armt.backbones.modes import evaluation_mode
from armt.benchmarking.records import RecordBook
from armt.core.errors import DataError
from armt.core.shapes import Bool, Tensor
from armt.evaluation.answers import answer_samples
from armt.evaluation.subjects.hashing import short_hash
from armt.recurrence.fingerprint import model_fingerprint
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.stream_config import FactStreamConfig
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.tasks.contract import Sample, TextEncoder
from armt.tasks.encoder import TokenizerEncoder
from armt.training.config import RunConfig
from armt.training.run import Prepared
from armt.training.text import load_store

ACCURACY, WRITTEN, READ = "babilong.accuracy", "memory.written_share", "read.seconds"
"""Names of the figures."""

TASK_SEED = 12345
"""Stories of the evaluation; training draws from other seeds and other books."""

_NUM_ROWS = 64
"""Texts read side by side; always as many, so that their shape is compiled once."""

_TIED = "lm_head.weight"
"""The weight that is kept once, as that of the embeddings."""


class Exam(NamedTuple):
    """What the model of a recipe is asked, and where the answers are written down."""

    recipe: str
    tasks: tuple[BabilongTask, ...]
    """Those that the recipe's last stage tells, over books that it was not trained on."""

    store: BackgroundStore
    """These books."""

    book: RecordBook

    changes: Sequence[str] = ()
    """Options that are not those of the recipe, as typed."""

    def measure(self, model: Recurrent, cells: Sequence[str]) -> None:
        """Records how many questions of each task are answered right in each cell, LENGTH:COUNT.

        A cell that is recorded, of the same weights read with the same options, is not measured
        again.

        Raises:
            DataError: no story of a task is short enough for a cell.
        """
        told = self._told(model)
        for task, cell in product(self.tasks, cells):
            length, _, count = cell.partition(":")
            indices = task.indices(length, int(count))
            if not indices:
                raise DataError(
                    f"There is nothing to ask in the cell {cell}: none of the first {count} "
                    f"stories of {task.task} is short enough for {length} tokens. Ask more, or "
                    "about longer texts."
                )
            about = {
                "task": task.task, "tokens": length, **told,
                "overlap_len": model.recurrence.overlap_len,
            }  # fmt: skip
            if not self.book.holds(READ, **about, batch=len(indices)):
                self._measure(model, task, indices, about)

    def measure_writes(self, model: Recurrent) -> None:
        """Records how many segments of the books leave a trace; they hold no fact."""
        about = {"kind": "held-out books", **self._told(model)}
        if self.book.holds(WRITTEN, **about):
            return
        num_written, num_segments = count_written(model, self.store)
        share = num_written / num_segments
        _ = self.book.add(WRITTEN, share, "share", **about, num_samples=num_segments)

    def _told(self, model: Recurrent) -> dict[str, Any]:
        """Returns what tells a model from others of its recipe and seed, trained or read so."""
        weights = short_hash(model_fingerprint(model))
        return {"model": self.recipe, "changes": list(self.changes), "weights": weights}

    def _measure(
        self, model: Recurrent, task: BabilongTask, indices: Sequence[int], about: dict[str, Any]
    ) -> None:
        started = time.monotonic()
        for arm, num_right in count_right(model, task, about["tokens"], indices).items():
            share = num_right / len(indices)
            _ = self.book.add(
                ACCURACY, share, "share", **about, memory=arm, num_samples=len(indices)
            )
        seconds = time.monotonic() - started
        _ = self.book.add(READ, seconds, "s", **about, batch=len(indices))


def exam_of(
    config: RunConfig,
    encoder: TokenizerEncoder | None,
    text_folder: Path,
    book: RecordBook,
    changes: Sequence[str] = (),
) -> Exam:
    """Returns what the model of a recipe of BABILong tasks is asked.

    Args:
        config: the recipe.
        encoder: its tokenizer.
        text_folder: where the tokenised background stands.
        book: takes the figures.
        changes: options that are not those of the recipe, as typed.
    """
    stream = config.stages[-1].stream
    assert isinstance(stream, FactStreamConfig), "the recipe is one of BABILong tasks"
    assert encoder is not None, "such a recipe has a tokenizer"
    assert config.text is not None, "such a recipe has text"
    store = load_store(text_folder, config.text, encoder, "test")
    # nothing is reserved for a prompt: 64k are 64,000 tokens of context
    tasks = [
        BabilongTaskConfig(task=name, seed=TASK_SEED, reserve_len=0).build(store, encoder)
        for name in stream.tasks
    ]
    return Exam(config.name, tuple(tasks), store, book, changes)


def train_recorded(prepared: Prepared, book: RecordBook, changes: Sequence[str] = ()) -> Recurrent:
    """Returns the trained model; records what the training took, once it is done.

    Args:
        prepared: a run, which may be done already.
        book: takes the figures.
        changes: options that are not those of the recipe, as typed.
    """
    trainer = prepared.trainer
    model = trainer.train()
    recipe, progress = trainer.config.name, trainer.progress
    told = {"recipe": recipe, "changes": list(changes)}
    if not book.holds("train.tokens", **told):
        _ = book.add("train.seconds", progress.seconds, "s", **told)
        _ = book.add("train.tokens", progress.num_tokens, "tokens", **told)
    return model


def count_right(
    model: Recurrent, task: BabilongTask, length: str, indices: Sequence[int]
) -> Counter[str]:
    """Returns how many of these samples are answered right, memory on and off."""
    num_right: Counter[str] = Counter({"on": 0, "off": 0})
    for first in range(0, len(indices), _NUM_ROWS):
        samples = [task.sample(length, index) for index in indices[first : first + _NUM_ROWS]]
        # a story may be longer than the cell; only texts of one length are read side by side
        samples.sort(key=_context_len)
        for _, alike in groupby(samples, key=_context_len):
            num_right.update(count_right_side_by_side(model, list(alike), task.encoder))
    return num_right


def _context_len(sample: Sample) -> int:
    return sample.context_len


def count_right_side_by_side(
    model: Recurrent, samples: Sequence[Sample], encoder: TextEncoder
) -> Counter[str]:
    """Returns how many samples of one length, read at once, are answered right, by memory."""
    answered = answer_samples(model, samples, end_id=encoder.end_id)
    return Counter(
        {
            arm: sum(
                encoder.decode(ids).strip() == sample.answer
                for ids, sample in zip(answers, samples, strict=True)
            )
            for arm, answers in answered.items()
        }
    )


def count_written(model: Recurrent, store: BackgroundStore) -> tuple[int, int]:
    """Reads the books of `store` a segment at a time; returns how many leave a trace, and all.

    They hold no fact, so the memory, empty before each, should be empty after it. What is left
    over after whole batches is not read.

    Raises:
        DataError: the books are shorter than a segment.
    """
    size = model.recurrence.segment_len
    sentences, books = store.sentence_offsets, store.book_offsets
    spans = [store.tokens[sentences[books[b]] : sentences[books[b + 1]]] for b in store.books]
    tokens = np.concatenate(spans).astype(np.int64)
    num_rows = len(tokens) // size
    if not num_rows:
        raise DataError(
            f"The books kept for evaluation have {len(tokens)} tokens, less than a segment of "
            f"{size}. Give a background of more or longer books."
        )
    num_rows -= num_rows % min(num_rows, _NUM_ROWS)
    rows = tokens[: num_rows * size].reshape(-1, size)
    num_written = 0
    with evaluation_mode(model):
        for first in range(0, num_rows, _NUM_ROWS):
            part = torch.from_numpy(rows[first : first + _NUM_ROWS])
            empty = model.init_state(len(part))
            num_written += int(_has_changed(empty, model.read(part, empty)).sum())
    return num_written, num_rows


def _has_changed(before: RecurrentState, after: RecurrentState) -> Bool[Tensor, " B"]:
    """Returns in which rows a memory of fixed size holds another value than before."""
    changes = [
        (old.to(new.device) != new).flatten(1).any(1)
        for layers in zip(before.layers, after.layers, strict=True)
        for old, new in zip(*(layer.tensors().values() for layer in layers), strict=True)
    ]
    return torch.stack(changes).any(0)


def save_weights(model: Recurrent, path: Path) -> None:
    """Writes the weights as they are boxed: in half precision, and what is tied once."""
    tensors = {
        name: value.detach().to(torch.bfloat16).cpu().clone()
        for name, value in model.state_dict().items()
        if name != _TIED
    }
    save_file(tensors, path)


def load_weights(model: Recurrent, path: Path) -> None:
    """Gives the model weights that `save_weights` wrote."""
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    assert missing == [_TIED], f"weights are missing: {missing}"
    assert not unexpected, f"weights of another model: {unexpected}"
