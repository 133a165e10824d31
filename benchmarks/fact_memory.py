"""Trains an encoder with memory tokens on a task of BERT with RMT; measures it on long texts.

    python benchmarks/fact_memory.py --kind memorise --folder runs/facts \
        --results benchmarks/results/NAME.jsonl --minutes 6

The folder may hold a tokenizer (`tokenizer.json`) and a background store (`background/`) already;
each kind and seed has a folder of its own within it. A cell is a number of segments and of texts. A
figure that the file of results holds already is not measured again, and a training goes on from its
checkpoint: after a stop the same command does the rest.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from records import add_run_options, open_book, stopped_after
from torch import nn

from armt.benchmarking.records import RecordBook
from armt.evaluation.fact_memory import fact_memory_scores
from armt.recipes.rmt_encoder import rmt_encoder, rmt_encoder_tiny
from armt.recurrence.encoder import RecurrentClassifier
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.fact_memory import FactMemory
from armt.training.classifier import (
    WEIGHTS_NAME,
    ClassifierReport,
    ClassifierTrainer,
    build_classifier,
    build_task,
    load_classifier,
    save_classifier,
)
from armt.training.classifier_config import ClassifierRunConfig
from armt.training.text import load_encoder, load_store
from armt.training.validation import ValidationReport

RECIPES = {"full": rmt_encoder, "tiny": rmt_encoder_tiny}

CELLS = ("1:1024", "7:1024", "64:1024", "512:512", "4096:256")


class _Cell(NamedTuple):
    """So many texts of so many segments."""

    num_segments: int
    num_samples: int


def main() -> None:
    """Trains, unless that is done, and measures what is not recorded yet."""
    options = _options()
    config = (
        RECIPES[options.setting](options.kind).replaced("seed", options.seed).changed(options.set)
    )
    book = open_book(options.results, options.seed, options.commit)
    with stopped_after(60 * options.minutes):
        _run(config, book, options)


def _run(config: ClassifierRunConfig, book: RecordBook, options: argparse.Namespace) -> None:
    folder = options.folder / f"{config.name}-{config.kind}-seed-{config.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(options.folder, config.text)
    shared = {"recipe": config.name, "task": config.kind, "changes": options.set}
    if not book.holds("train.seconds", **shared) or not (folder / WEIGHTS_NAME).exists():
        store = load_store(options.folder, config.text, encoder, "train")
        _train(config, build_task(config, store, encoder), encoder, folder, book, shared)
    # what stands in the folder is measured, without gradients and optimiser beside it
    model = _placed(load_classifier(folder, config, encoder))
    task = build_task(config, load_store(options.folder, config.text, encoder, "test"), encoder)
    trained = {"trained_segments": max(stage.num_segments for stage in config.stages)}
    if config.validation is not None:
        trained["validated_segments"] = config.validation.num_segments
    for cell in options.cells:
        params = shared | trained | {
            "segments": cell.num_segments,
            "tokens": cell.num_segments * config.recurrence.segment_len,
            "num_samples": cell.num_samples, "batch": min(options.batch_size, cell.num_samples),
        }  # fmt: skip
        # the last figure of a cell: where it is recorded, the others are
        if not book.holds("read.seconds", **params):
            _measure(model, task, cell, book, params)


def _train(
    config: ClassifierRunConfig,
    task: FactMemory,
    encoder: TokenizerEncoder,
    folder: Path,
    book: RecordBook,
    shared: dict[str, Any],
) -> None:
    """Trains, or what is left of it, and keeps the weights."""
    trainer = ClassifierTrainer(_placed(build_classifier(config, encoder)), task, config, folder)
    save_classifier(folder, trainer.train(_show))
    if not book.holds("train.seconds", **shared):
        _ = book.add("train.tokens", trainer.progress.num_tokens, "tokens", **shared)
        _ = book.add("train.seconds", trainer.progress.seconds, "s", **shared)


def _measure(
    model: RecurrentClassifier,
    task: FactMemory,
    cell: _Cell,
    book: RecordBook,
    params: dict[str, Any],
) -> None:
    """Records the accuracy of every arm, the memory of the device and the time."""
    started = time.monotonic()
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    scores = fact_memory_scores(
        model, task, cell.num_segments, num_samples=cell.num_samples, batch_size=params["batch"]
    )
    for arm, score in scores.items():
        _ = book.add("fact_memory.accuracy", score.accuracy, "share", memory=arm, **params)
    if model.device.type == "cuda":
        _ = book.add("read.peak_bytes", torch.cuda.max_memory_allocated(), "bytes", **params)
    _ = book.add("read.seconds", time.monotonic() - started, "s", **params)


def _placed(model: RecurrentClassifier) -> RecurrentClassifier:
    _ = cast("nn.Module", model).to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def _show(report: ClassifierReport | ValidationReport) -> None:
    print(json.dumps(vars(report)), flush=True)


def _cell(text: str) -> _Cell:
    num_segments, _, num_samples = text.partition(":")
    return _Cell(int(num_segments), int(num_samples))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    kinds = ["memorise", "detect_and_memorise", "reasoning"]
    _ = parser.add_argument("--kind", choices=kinds, required=True)
    _ = parser.add_argument("--setting", choices=list(RECIPES), default="full")
    _ = parser.add_argument("--minutes", type=float, default=60.0)
    _ = parser.add_argument("--cells", type=_cell, nargs="+", default=[_cell(x) for x in CELLS])
    _ = parser.add_argument("--batch-size", type=int, default=256)
    return parser.parse_args()


if __name__ == "__main__":
    main()
