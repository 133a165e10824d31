"""Trains a recipe of BABILong tasks and measures it on held-out books and stories.

    python benchmarks/babilong.py --recipe armt_babilong_qa1 --folder runs/qa1 \
        --weights runs/qa1/weights.safetensors --log runs/qa1-log.jsonl \
        --results benchmarks/results/NAME.jsonl

It is measured on the tasks that its last stage tells, each in all cells; what the file of results
holds already, of the same weights and options, is not measured again.
The folder may hold a tokenizer (`tokenizer.json`) and a background store (`background/`) already.
"""

import argparse
from pathlib import Path

from records import add_run_options, open_book

from armt.benchmarking.babilong import exam_of, load_weights, save_weights, train_recorded
from armt.recipes.registry import RECIPES
from armt.training.callbacks.log import TrainingLog
from armt.training.run import prepare
from armt.training.trainer import StepReport


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
    exam = exam_of(config, prepared.encoder, options.folder, book, options.set)
    if options.trained is None:
        model = train_recorded(prepared, book, options.set)
        save_weights(model, options.weights)
        exam.measure_writes(model)
    else:
        model = prepared.trainer.trained()
        load_weights(model, options.trained)
    exam.measure(model, options.cells)


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
