"""Trains an associative retrieval recipe and measures exact match at several numbers of pairs.

python benchmarks/retrieval.py --recipe armt_retrieval_rewrite --pairs 50 500 --folder runs/ar
"""

import argparse
from pathlib import Path

from records import add_run_options, open_book

from armt.evaluation.retrieval import retrieval_scores
from armt.recipes.registry import RECIPES
from armt.tasks.associative_retrieval import AssociativeRetrievalConfig
from armt.training.callbacks.log import TrainingLog
from armt.training.run import prepare


def main() -> None:
    """Trains and evaluates."""
    options = _options()
    config = RECIPES[options.recipe].entry().replaced("seed", options.seed).changed(options.set)
    book = open_book(options.results, options.seed, options.commit)
    prepared = prepare(config, options.folder, [TrainingLog(options.log)])
    model = prepared.trainer.train()
    seconds = prepared.trainer.progress.seconds
    book.add("train.seconds", seconds, "s", recipe=config.name, changes=options.set)
    task = config.stages[-1].stream
    assert isinstance(task, AssociativeRetrievalConfig), "a recipe of associative retrieval"
    scores = retrieval_scores(
        model, task, options.pairs, num_samples=options.num_samples, batch_size=options.num_samples
    )
    for num_pairs, score in scores.items():
        book.add(
            "retrieval.exact_match", score.accuracy, "share", task=task.kind, memory="on",
            trained=task.num_pairs, tested=num_pairs, num_samples=score.num_samples,
            recipe=config.name, changes=options.set,
        )  # fmt: skip


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
