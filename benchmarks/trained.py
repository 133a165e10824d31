"""What scripts share that measure weights which a recipe of BABILong tasks was trained to."""

import argparse
from pathlib import Path
from typing import NamedTuple

from records import add_run_options, open_book

from armt.benchmarking.babilong import Exam, exam_of, load_weights
from armt.recipes.registry import RECIPES
from armt.recurrence.model import Recurrent
from armt.training.run import prepare


class Trained(NamedTuple):
    """A model with its weights, and what it is asked."""

    model: Recurrent
    exam: Exam


def add_trained_options(parser: argparse.ArgumentParser) -> None:
    """Adds what says which weights are measured."""
    add_run_options(parser)
    _ = parser.add_argument("--recipe", default="armt_babilong_qa1")
    _ = parser.add_argument("--trained", type=Path, required=True, help="weights to measure")


def load_trained(options: argparse.Namespace) -> Trained:
    """Returns the model that the options tell."""
    config = RECIPES[options.recipe].entry().replaced("seed", options.seed).changed(options.set)
    prepared = prepare(config, options.folder, [])
    model = prepared.trainer.trained()
    load_weights(model, options.trained)
    book = open_book(options.results, options.seed, options.commit)
    exam = exam_of(config, prepared.encoder, options.folder, book, options.set)
    return Trained(model, exam)
