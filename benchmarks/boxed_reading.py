"""Measures `armt read` with the boxed model on a CPU beside the plain loop in single precision.

    python benchmarks/boxed_reading.py --results benchmarks/results/NAME.jsonl

Both read the same file in turns, tokenisation included. Then samples of QA1 are read by both, and
what became of states and answers is compared.
"""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from records import open_book

from armt.benchmarking.clock import alternate, seconds_of
from armt.benchmarking.reading import EAGER, read_eagerly
from armt.benchmarking.records import RecordBook
from armt.cli.babilong_samples import make_tasks
from armt.cli.babilong_settings import BabilongSettings
from armt.recurrence.state import RecurrentState
from armt.serving.answer import answer_question
from armt.serving.boxed_model import BoxedModel, load_boxed
from armt.serving.folders import boxed_folder
from armt.serving.reader import TextReader, find_sources
from armt.tasks.babilong import embedded_books

OURS = "armt read"
CPU = torch.device("cpu")


def main() -> None:
    """Measures the speed, then the difference."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    boxed = load_boxed(boxed_folder())
    book = open_book(options.results, 0, options.commit)
    if options.num_repeats:
        _measure_speed(book, boxed, options)
    if options.num_questions:
        _measure_difference(book, boxed, options)


def _measure_speed(book: RecordBook, boxed: BoxedModel, options: argparse.Namespace) -> None:
    path = options.scratch / "prose.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = " ".join(each.text for each in embedded_books())
    _ = path.write_text(text[: options.num_chars], encoding="utf-8")
    num_tokens = sum(len(ids) for ids in _pieces(boxed, path))

    def read_plainly() -> object:
        ids = torch.tensor([[each for ids in _pieces(boxed, path) for each in ids]])
        num_whole = num_tokens - num_tokens % boxed.model.recurrence.segment_len
        return read_eagerly(boxed.model, ids[:, :num_whole])

    works = {EAGER: read_plainly, OURS: lambda: boxed.read(_pieces(boxed, path))}
    for work in works.values():
        _ = seconds_of(work, CPU)
    found = alternate(works, CPU, num_repeats=options.num_repeats, deadline=math.inf)
    about = {
        "shape": "boxed",
        "batch": 1,
        "segment_len": boxed.model.recurrence.segment_len,
        "tokens": num_tokens,
        "num_samples": options.num_repeats,
        "is_half": boxed.half is not None,
        "load": round(os.getloadavg()[0], 1),
    }
    for name, samples in found.items():
        spread = {"low": num_tokens / samples.high, "high": num_tokens / samples.low}
        speed = num_tokens / samples.median
        _ = book.add("read.tokens_per_s", speed, "tokens/s", schedule=name, **about, **spread)
    pairs = zip(found[EAGER].seconds, found[OURS].seconds, strict=True)
    ratios = [plain / ours for plain, ours in pairs]
    spread = {"low": min(ratios), "high": max(ratios)}
    _ = book.add("read.speedup", float(np.median(ratios)), "ratio", **about, **spread)


def _pieces(boxed: BoxedModel, path: Path) -> Iterator[list[int]]:
    """Yields the tokens of a file as `armt read` does."""
    reader = TextReader(find_sources([str(path)], sys.stdin.buffer))
    return (ids for piece in reader.pieces() if (ids := boxed.encode_text(piece)))


def _measure_difference(book: RecordBook, boxed: BoxedModel, options: argparse.Namespace) -> None:
    settings = BabilongSettings(splitter="plain")
    [task] = make_tasks(settings, ["qa1"], [], boxed.encoder, options.scratch)
    drifts, num_same, num_right = [0.0], 0, 0
    for index in range(options.num_questions):
        sample = task.sample(options.length, index)
        ids = np.concatenate([np.asarray(piece) for piece in sample.context()]).astype(np.int64)
        plain, ours = boxed.model.read(ids), boxed.read(ids)
        drifts.append(_distance(ours, plain))
        answer = answer_question(boxed, ours, sample.question)
        num_same += answer == answer_question(boxed, plain, sample.question)
        num_right += answer == sample.answer
    about = {
        "shape": "boxed",
        "tokens": options.length,
        "num_samples": options.num_questions,
        "is_half": boxed.half is not None,
    }
    _ = book.add("drift.state", max(drifts), "ratio", **about)
    for name, count in (("drift.same_answers", num_same), ("drift.right_answers", num_right)):
        _ = book.add(name, count / options.num_questions, "share", **about)


def _distance(found: RecurrentState, expected: RecurrentState) -> float:
    """Returns the length of the difference as a share of what was expected, in the worst layer."""
    return max(
        float((value - old).norm() / old.norm().clamp_min(1e-12))
        for one, other in zip(found.layers, expected.layers, strict=True)
        for value, old in zip(one.tensors().values(), other.tensors().values(), strict=True)
        if value.numel()
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = partial(parser.add_argument, type=int)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--scratch", type=Path, default=Path("runs/boxed_reading"))
    _ = parser.add_argument("--commit", default="")
    _ = add("--threads", default=0, help="by default those of torch")
    _ = add("--num-chars", default=30_000)
    _ = add("--num-repeats", default=15)
    _ = add("--num-questions", default=24)
    _ = add("--length", default=16_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
