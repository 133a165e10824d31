"""Trains an associative retrieval recipe and measures exact match at several numbers of pairs.

python benchmarks/retrieval.py --recipe armt_retrieval_rewrite --pairs 50 500 --folder runs/ar
"""

import argparse
from pathlib import Path

from records import add_run_options, open_book

from armt.benchmarking.babilong import train_recorded
from armt.benchmarking.retrieval import measure_retrieval
from armt.recipes.registry import RECIPES
from armt.training.callbacks.log import TrainingLog
from armt.training.run import prepare


def main() -> None:
    """Trains and evaluates."""
    options = _options()
    config = RECIPES[options.recipe].entry().replaced("seed", options.seed).changed(options.set)
    book = open_book(options.results, options.seed, options.commit)
    prepared = prepare(config, options.folder, [TrainingLog(options.log)])
    model = train_recorded(prepared, book, options.set)
    measure_retrieval(
        model, config, options.pairs, book, num_samples=options.num_samples, changes=options.set
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    _ = parser.add_argument("--recipe", required=True)
    _ = parser.add_argument("--log", type=Path, required=True)
    _ = parser.add_argument("--pairs", type=int, nargs="+", required=True)
    _ = parser.add_argument("--num-samples", type=int, default=1024)
    return parser.parse_args()


if __name__ == "__main__":
    main()
