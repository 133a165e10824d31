r"""Measures how fast samples and training batches are made on one core, and what memory they take.

    python benchmarks/babilong_generate.py --tokenizer FOLDER --background FOLDER --cache FOLDER \
        --results benchmarks/results/NAME.jsonl

Counts the tokens of every piece of a context, so that all of it is made. The background is
tokenised into the cache the first time; that is not counted. Memory is that of the process as the
system sees it, pages of the store that were read included.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from records import open_book

from armt.benchmarking.clock import resident_nbytes
from armt.benchmarking.records import RecordBook
from armt.cli.babilong_samples import load_encoder
from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babilong import (
    BabilongTask,
    BabilongTaskConfig,
    BackgroundStore,
    LengthStage,
    MixtureStreamConfig,
    TaskShare,
    cached_store,
    folder_books,
)
from armt.tasks.babilong.manifest import sample_digest
from armt.tasks.contract import TextEncoder

_PIECES_PER_LOOK = 256
_NUM_BATCHES = 25
_MIXTURES = {"all": tuple(BABI_TASKS), "qa1-qa5": ("qa1", "qa2", "qa3", "qa4", "qa5")}


def main() -> None:
    """Measures and records."""
    options = _options()
    book = open_book(options.results, options.seed, options.commit)
    encoder = load_encoder(str(options.tokenizer))
    books = folder_books(options.background)
    store = cached_store(books, encoder, options.cache, splitter="punkt")
    task = BabilongTaskConfig(seed=options.seed).build(store, encoder)
    for length in options.lengths:
        _measure_sample(book, task, length)
    for name in ("all", "qa1-qa5", *BABI_TASKS):
        _measure_batches(book, store, encoder, name, options.seed)


def _measure_sample(book: RecordBook, task: BabilongTask, length: str) -> None:
    """Makes one sample in full: as tokens, and (up to 50M) as text and as a digest."""
    before = resident_nbytes()
    peak = before

    def count() -> int:
        nonlocal peak
        total = 0
        for number, piece in enumerate(task.sample(length, 0).context()):
            total += len(piece)
            if number % _PIECES_PER_LOOK == 0:
                peak = max(peak, resident_nbytes())
        return total

    num_tokens, seconds = _timed(count)
    params = {"tokens": length, "context_len": num_tokens, "store_len": task.store.num_tokens}
    book.add("babilong.generate_s", seconds, "s", form="ids", **params)
    book.add("babilong.generate_growth_bytes", peak - before, "bytes", **params)
    if num_tokens > 50_000_000:
        return
    sample = task.sample(length, 0)
    _, seconds = _timed(lambda: sample_digest(sample))
    book.add("babilong.generate_s", seconds, "s", form="digest", **params)
    _, seconds = _timed(lambda: sum(len(text) for text in sample.text()))
    book.add("babilong.generate_s", seconds, "s", form="text", **params)


def _measure_batches(
    book: RecordBook, store: BackgroundStore, encoder: TextEncoder, name: str, seed: int
) -> None:
    """Makes training batches of 64 rows of 16,000 tokens; records the median time of one."""
    config = MixtureStreamConfig(
        tasks=tuple(TaskShare(task=task) for task in _MIXTURES.get(name, (name,))),
        stages=(LengthStage(lengths=(16_000,)),),
        batch_size=64,
    )
    batches = config.build(store, encoder, seed).batches()
    _ = next(batches)  # the words of the tasks are tokenised once
    seconds = [_timed(lambda: next(batches))[1] for _ in range(_NUM_BATCHES)]
    params = {"task": name, "rows": 64, "tokens": "16k"}
    book.add("babilong.batch_s", statistics.median(seconds), "s", **params)


def _timed(work: Callable[[], object]) -> tuple[int, float]:
    """Returns what `work` counted, if it did, and its seconds."""
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    return found if isinstance(found, int) else 0, seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--tokenizer", type=Path, required=True)
    _ = parser.add_argument("--background", type=Path, required=True)
    _ = parser.add_argument("--cache", type=Path, required=True)
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--seed", type=int, default=0)
    _ = parser.add_argument("--commit", default="")
    _ = parser.add_argument("--lengths", nargs="*", default=["1M", "10M", "50M", "1B"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
