"""Trains a recipe of BABILong tasks and measures it on held-out books and stories.

    python benchmarks/babilong.py --recipe armt_babilong_qa1 --folder runs/qa1 \
        --weights runs/qa1/weights.safetensors --log runs/qa1-log.jsonl \
        --results benchmarks/results/NAME.jsonl

It is measured on the tasks that its last stage tells, each in all cells.
The folder may hold a tokenizer (`tokenizer.json`) and a background store (`background/`) already.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from records import add_run_options, open_book
from safetensors.torch import load_file, save_file

from armt.benchmarking.records import RecordBook
from armt.evaluation.answers import answer_samples
from armt.recipes.registry import RECIPES
from armt.recurrence.model import Recurrent
from armt.tasks.babilong.sample import BabilongTask
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.babilong.stream import FactStreamConfig
from armt.tasks.babilong.task_config import BabilongTaskConfig
from armt.training.callbacks.log import TrainingLog
from armt.training.run import prepare
from armt.training.text import load_store
from armt.training.trainer import StepReport, Trainer

TASK_SEED = 12345
"""Stories of the evaluation; training draws from other seeds and other books."""

NUM_ROWS = 64
"""Texts read side by side; always as many, so that their shape is compiled once."""


class _Lines:
    """Prints a line now and then."""

    def on_report(self, report: StepReport) -> None:
        if report.step % 200 == 0 or report.step == report.num_steps:
            print(
                f"{report.step} stage {report.stage} loss {report.loss:.4f} "
                f"accuracy {report.accuracy:.4f} {report.tokens_per_s / 1e6:.2f} M/s "
                f"{report.seconds:.0f} s skipped {report.num_skipped}",
                flush=True,
            )

    def on_end(self, model: object) -> None:
        del model


def main() -> None:
    """Trains, unless weights are given, and evaluates."""
    options = _options()
    config = RECIPES[options.recipe].entry().replaced("seed", options.seed).changed(options.set)
    book = open_book(options.results, options.seed, options.commit)
    prepared = prepare(config, options.folder, [_Lines(), TrainingLog(options.log)])
    encoder = prepared.encoder
    assert encoder is not None, "the recipe has text"
    assert config.text is not None, "the recipe has text"
    store = load_store(options.folder, config.text, encoder, "test")
    if options.trained is None:
        model = _trained(prepared.trainer, book, options)
        share, num_segments = written_share(model, store)
        book.add(
            "memory.written_share", share, "share", kind="held-out books",
            num_samples=num_segments, model=config.name,
        )  # fmt: skip
    else:
        model = prepared.trainer.recurrent.eval()
        load_weights(model, options.trained)
    stream = config.stages[-1].stream
    assert isinstance(stream, FactStreamConfig), "the recipe is one of BABILong tasks"
    for name, cell in product(stream.tasks, options.cells):
        # nothing is reserved for a prompt: 64k are 64,000 tokens of context
        task = BabilongTaskConfig(task=name, seed=TASK_SEED, reserve_len=0).build(store, encoder)
        _measure(model, task, cell, book, config.name)


def _measure(model: Recurrent, task: BabilongTask, cell: str, book: RecordBook, name: str) -> None:
    """Records how many samples of a cell, `LENGTH:COUNT`, the model answers right."""
    length, _, count = cell.partition(":")
    started = time.monotonic()
    indices = task.indices(length, int(count))
    for arm, num_right in _num_right(model, task, length, indices).items():
        book.add(
            "babilong.accuracy", num_right / len(indices), "share", task=task.task,
            tokens=length, memory=arm, model=name, num_samples=len(indices),
        )  # fmt: skip
    seconds = time.monotonic() - started
    book.add(
        "read.seconds", seconds, "s", task=task.task, tokens=length, batch=len(indices), model=name,
    )  # fmt: skip


def _trained(trainer: Trainer, book: RecordBook, options: argparse.Namespace) -> Recurrent:
    """Returns the trained model; records what the training took, and keeps its weights."""
    model = trainer.train()
    progress, recipe = trainer.progress, trainer.config.name
    book.add("train.seconds", progress.seconds, "s", recipe=recipe, changes=options.set)
    book.add("train.tokens", progress.num_tokens, "tokens", recipe=recipe)
    _save_weights(model, options.weights)
    return model


def load_weights(model: Recurrent, path: Path) -> None:
    """Gives the model weights that `_save_weights` wrote."""
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    assert missing == ["lm_head.weight"], f"weights are missing: {missing}"
    assert not unexpected, f"weights of another model: {unexpected}"


def _save_weights(model: Recurrent, path: Path) -> None:
    """Writes the weights as they are boxed: in half precision, and what is tied once."""
    tensors = {
        name: value.detach().to(torch.bfloat16).cpu().clone()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(tensors, path)


def _num_right(
    model: Recurrent, task: BabilongTask, length: str, indices: Sequence[int]
) -> Counter[str]:
    """Returns how many of these samples are answered right, memory on and off."""
    num_right: Counter[str] = Counter({"on": 0, "off": 0})
    encoder = task.encoder
    for first in range(0, len(indices), NUM_ROWS):
        samples = [task.sample(length, index) for index in indices[first : first + NUM_ROWS]]
        for arm, answers in answer_samples(model, samples, end_id=encoder.end_id).items():
            pairs = zip(answers, samples, strict=True)
            num_right[arm] += sum(
                encoder.decode(ids).strip() == sample.answer for ids, sample in pairs
            )
    return num_right


@torch.no_grad()
def written_share(model: Recurrent, store: BackgroundStore) -> tuple[float, int]:
    """Reads the books of `store` a segment at a time; returns how many of these leave a trace.

    They hold no fact, so the memory, empty before each, should be empty after it.
    """
    _ = model.eval()
    size, sentences, books = (
        model.recurrence.segment_len,
        store.sentence_offsets,
        store.book_offsets,
    )
    spans = [store.tokens[sentences[books[b]] : sentences[books[b + 1]]] for b in store.books]
    tokens = np.concatenate(spans).astype(np.int64)
    num_batches = len(tokens) // (size * NUM_ROWS)
    rows = torch.from_numpy(tokens[: num_batches * size * NUM_ROWS].reshape(-1, size))
    num_written = 0
    for part in rows.split(NUM_ROWS):
        state = model.read(part.to(model.device))
        traces = [value for layer in state.layers for value in layer.tensors().values()]
        num_written += int(torch.stack([trace.flatten(1).any(1) for trace in traces]).any(0).sum())
    return num_written / len(rows), len(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    _ = parser.add_argument("--recipe", default="armt_babilong_qa1")
    _ = parser.add_argument("--weights", type=Path, help="where trained weights go")
    _ = parser.add_argument("--trained", type=Path, help="weights to measure instead of training")
    _ = parser.add_argument("--log", type=Path, required=True)
    _ = parser.add_argument("--cells", nargs="*", default=["64k:256", "1M:64", "4M:64"])
    options = parser.parse_args()
    if (options.weights is None) == (options.trained is None):
        parser.error("Give either --weights, to train, or --trained, to measure what was trained.")
    return options


if __name__ == "__main__":
    main()
