"""Trains language models with several memories at equal compute; measures bits a byte by segment.

    python benchmarks/language.py --memories none rmt armt --folder runs/books \
        --results benchmarks/results/NAME.jsonl --set 'text.background=[books,prose]'

Tokenizer and tokenised books stand in `--text`, or are made there once; by default in `--folder`.
What the file of results holds already is not trained again, and a training goes on from its
checkpoint: after a stop the same command does the rest.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

from records import add_seeds_options, open_book, stopped_after

from armt.benchmarking.babilong import train_recorded
from armt.benchmarking.language import LanguageExam, memory_changes
from armt.recipes.registry import RECIPES
from armt.tasks.language_modeling import LanguageModeling, LanguageModelingConfig
from armt.training.callbacks.log import LOG_NAME, TrainingLog
from armt.training.config import RunConfig
from armt.training.run import prepare
from armt.training.text import load_encoder, load_store


def main() -> None:
    """Trains and measures every memory with every seed, as far as there is time."""
    options = _options()
    recipe = RECIPES[options.recipe].entry().changed(options.set)
    with stopped_after(60 * options.minutes):
        task = _held_out(recipe, options)
        for seed, memory in product(options.seeds, options.memories):
            _run(recipe.replaced("seed", seed), memory, task, options)


def _run(
    recipe: RunConfig, memory: str, task: LanguageModeling, options: argparse.Namespace
) -> None:
    """Trains one memory with one seed and records what is missing; nothing if all is there."""
    own = memory_changes(recipe, memory, task.encoder)
    config, changes = recipe.changed(own), [*options.set, *own]
    book = open_book(options.results, recipe.seed, options.commit)
    exam = LanguageExam(config, memory, options.segments, options.num_rows, book, changes)
    if exam.is_done:
        return
    folder: Path = options.folder / f"{memory}-seed-{recipe.seed}"
    log = TrainingLog(folder / LOG_NAME)
    prepared = prepare(config, folder, [log], text_folder=options.text or options.folder)
    exam.measure(train_recorded(prepared, book, changes), task, options.batch_size)


def _held_out(recipe: RunConfig, options: argparse.Namespace) -> LanguageModeling:
    """Returns the books that are kept for testing, in rows of as many segments as are asked for."""
    stream, texts = recipe.stages[-1].stream, options.text or options.folder
    assert isinstance(stream, LanguageModelingConfig), "a recipe of language modelling"
    assert recipe.text is not None, "such a recipe has text"
    encoder = load_encoder(texts, recipe.text)
    store = load_store(texts, recipe.text, encoder, "test")
    return replace(stream, num_segments=options.segments).build(store, encoder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_seeds_options(parser)
    _ = parser.add_argument("--recipe", default="books")
    _ = parser.add_argument("--memories", nargs="+", default=["none", "rmt", "armt"])
    _ = parser.add_argument("--text", type=Path, help="where tokenizer and tokenised books stand")
    _ = parser.add_argument("--segments", type=int, default=64)
    _ = parser.add_argument("--num-rows", type=int, default=128)
    _ = parser.add_argument("--batch-size", type=int, default=32)
    return parser.parse_args()


if __name__ == "__main__":
    main()
