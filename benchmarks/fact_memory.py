"""Trains an encoder with memory tokens on the tasks of BERT with RMT; measures it on long texts.

python benchmarks/fact_memory.py --kind memorise --segments 1 64 4096 --folder F --results R.jsonl
"""

import argparse
import json
import time
from pathlib import Path

import torch
from records import add_run_options, open_book

from armt.benchmarking.records import RecordBook
from armt.evaluation.fact_memory import fact_memory_score
from armt.recipes.rmt_encoder import rmt_encoder, rmt_encoder_tiny
from armt.recurrence.encoder import RecurrentClassifier
from armt.training.classifier import (
    ClassifierReport,
    ClassifierRunConfig,
    ClassifierTrainer,
    build_classifier,
    build_task,
    load_classifier,
    save_classifier,
)
from armt.training.text import load_encoder, load_store

RECIPES = {"full": rmt_encoder, "tiny": rmt_encoder_tiny}


def main() -> None:
    """Trains, unless the folder holds weights already, and evaluates."""
    options = _options()
    config = (
        RECIPES[options.setting](options.kind).replaced("seed", options.seed).changed(options.set)
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    book = open_book(options.results, options.seed, options.commit)
    model = _trained(config, options.folder, book)
    _evaluate(config, model, options, book)


def _trained(config: ClassifierRunConfig, folder: Path, book: RecordBook) -> RecurrentClassifier:
    encoder = load_encoder(folder, config.text)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if (folder / "model.safetensors").exists():
        return load_classifier(folder, config, encoder).to(device)
    task = build_task(config, load_store(folder, config.text, encoder, "train"), encoder)
    model = build_classifier(config, encoder).to(device)
    started = time.monotonic()
    trained = ClassifierTrainer(model, task, config).train(_show)
    save_classifier(folder, trained)
    seconds = time.monotonic() - started
    book.add("train.seconds", seconds, "s", recipe=config.name, task=config.kind)
    return trained


def _evaluate(
    config: ClassifierRunConfig,
    model: RecurrentClassifier,
    options: argparse.Namespace,
    book: RecordBook,
) -> None:
    encoder = load_encoder(options.folder, config.text)
    task = build_task(config, load_store(options.folder, config.text, encoder, "test"), encoder)
    for num_segments in options.segments:
        shape = {
            "task": config.kind, "recipe": config.name, "segments": num_segments,
            "tokens": num_segments * config.recurrence.segment_len,
            "trained_segments": config.stages[-1].num_segments, "num_samples": options.num_samples,
        }  # fmt: skip
        for arm in ("on", "off"):
            if model.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            score = fact_memory_score(
                model, task, num_segments, num_samples=options.num_samples,
                batch_size=options.batch_size, is_memory_on=arm == "on",
            )  # fmt: skip
            book.add("fact_memory.accuracy", score.accuracy, "share", memory=arm, **shape)
            if model.device.type == "cuda":
                peak = torch.cuda.max_memory_allocated()
                book.add("read.peak_bytes", peak, "bytes", memory=arm, **shape)


def _show(report: ClassifierReport) -> None:
    print(json.dumps(vars(report)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    kinds = ["memorise", "detect_and_memorise", "reasoning"]
    _ = parser.add_argument("--kind", choices=kinds, required=True)
    _ = parser.add_argument("--setting", choices=list(RECIPES), default="full")
    _ = parser.add_argument("--segments", type=int, nargs="+", required=True)
    _ = parser.add_argument("--num-samples", type=int, default=256)
    _ = parser.add_argument("--batch-size", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
