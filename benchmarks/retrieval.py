"""Trains recipes of associative retrieval; measures exact match by pairs, and size of the state.

    python benchmarks/retrieval.py --recipes rewrite_rmt rewrite_prmt --seeds 0 1 2 \
        --pairs 50 500 --folder runs/rewrite --results benchmarks/results/NAME.jsonl

A figure that the file of results holds already is not measured again, and a training goes on from
its checkpoint: after a stop the same command does the rest. Each run has a folder of its own within
`--folder`, with its log.
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
from armt.training.config import RunConfig
from armt.training.run import prepare


def main() -> None:
    """Trains and measures every recipe with every seed, as far as there is time."""
    options = _options()
    with stopped_after(60 * options.minutes):
        for seed, name in product(options.seeds, options.recipes):
            config = RECIPES[name].entry().replaced("seed", seed).changed(options.set)
            book = open_book(options.results, seed, options.commit)
            _run(config, options.folder / f"{name}-seed-{seed}", book, options)


def _run(config: RunConfig, folder: Path, book: RecordBook, options: argparse.Namespace) -> None:
    """Trains one recipe with one seed and records what is missing; nothing if all is there."""
    exam = RetrievalExam(
        config, tuple(options.pairs), book, options.num_samples, {"changes": options.set}
    )
    if exam.is_done:
        return
    prepared = prepare(config, folder, [TrainingLog(folder / LOG_NAME)])
    model = train_recorded(prepared, book, options.set)
    exam.measure(model, options.batch_size)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_seeds_options(parser)
    _ = parser.add_argument("--recipes", nargs="+", required=True)
    _ = parser.add_argument("--pairs", type=int, nargs="+", required=True)
    _ = parser.add_argument("--num-samples", type=int, default=1024)
    _ = parser.add_argument("--batch-size", type=int, help="questions read side by side; or all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
