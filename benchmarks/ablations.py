"""Trains the quick recipe of *rewrite* with one thing changed, and measures exact match by updates.

    python benchmarks/ablations.py --folder runs/ablations \
        --results benchmarks/results/NAME.jsonl --only as_it_is gamma sum

Takes about a minute of a GPU for each name and seed; several processes, each with names and a file
of its own, can share a card. What the file of results holds already is not trained again, and a
training goes on from its checkpoint: after a stop the same command does the rest.
"""

import argparse
from itertools import product
from pathlib import Path

from records import add_seeds_options, open_book, stopped_after

from armt.benchmarking.babilong import train_recorded
from armt.benchmarking.records import RecordBook
from armt.benchmarking.retrieval import RetrievalExam
from armt.recipes.registry import RECIPES
from armt.training.callbacks.log import LOG_NAME, TrainingLog
from armt.training.run import prepare

RECIPE = "armt_retrieval_rewrite_quick"

_PUBLISHED = ("memory.use_unit_features=false", "memory.write_order=parallel")
"""The paper's memory, but for its normaliser."""

ABLATIONS: dict[str, tuple[str, ...]] = {
    "as_it_is": (),
    "gamma": ("memory.normalizer=gamma",),
    "sum": ("memory.normalizer=sum",),
    "no_l2": ("memory.use_unit_features=false",),
    "parallel": ("memory.write_order=parallel",),
    "published": (*_PUBLISHED, "memory.normalizer=gamma"),
    "published_no_gamma": (*_PUBLISHED, "memory.normalizer=sum"),
    "sigmoid": ("memory.gate=sigmoid",),
    "tokens_1": ("memory.num_memory_tokens=1",),
    "tokens_16": ("memory.num_memory_tokens=16",),
    "d_mem_4": ("memory.d_mem=4",),
    "d_mem_16": ("memory.d_mem=16",),
    # as many steps, all of them on the last stage
    "no_curriculum": (
        *(f"stages.{number}.num_steps=0" for number in range(4)),
        "stages.4.num_steps=1200",
        "stages.4.warmup_steps=50",
    ),
    # four times as many updates in the last stage, the gradient as far back as without
    "prefix": ("stages.4.stream.num_pairs=64", "recurrence.bptt_depth=15"),
}
"""What each of them changes; one thing, but for the paper's forms."""


def main() -> None:
    """Trains and measures every ablation with every seed, as far as there is time."""
    options = _options()
    with stopped_after(60 * options.minutes):
        for seed, name in product(options.seeds, options.only):
            _run(name, open_book(options.results, seed, options.commit), options)


def _run(name: str, book: RecordBook, options: argparse.Namespace) -> None:
    """Trains one ablation with one seed and records what is missing; nothing if all is there."""
    changes = [*ABLATIONS[name], *options.set]
    config = RECIPES[RECIPE].entry().replaced("seed", book.seed).changed(changes)
    told = {"ablation": name, "changes": changes}
    exam = RetrievalExam(config, tuple(options.pairs), book, options.num_samples, told)
    if exam.is_done:
        return
    folder: Path = options.folder / f"{name}-seed-{book.seed}"
    prepared = prepare(config, folder, [TrainingLog(folder / LOG_NAME)])
    exam.measure(train_recorded(prepared, book, changes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_seeds_options(parser)
    _ = parser.add_argument("--only", nargs="+", choices=list(ABLATIONS), default=list(ABLATIONS))
    _ = parser.add_argument("--pairs", type=int, nargs="+", default=[50, 500])
    _ = parser.add_argument("--num-samples", type=int, default=1024)
    return parser.parse_args()


if __name__ == "__main__":
    main()
