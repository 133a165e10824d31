"""Trains recipes that compare memories, and measures how far back each of them remembers.

    python benchmarks/memory_experiments.py --recipes facts_memoryllm facts_none --seeds 0 1 2 \
        --folder runs/facts --results benchmarks/results/NAME.jsonl --minutes 8

A figure that the file of results holds already is not measured again, and a training goes on from
its checkpoint: after a stop the same command does the rest.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from records import add_seeds_options, open_book, stopped_after

from armt.benchmarking.records import RecordBook
from armt.evaluation.mplus_retriever import retrieved_by_layer
from armt.evaluation.prompts import prompt_score
from armt.memories.memoryllm import MemoryLLMConfig
from armt.memories.mplus import MPlusConfig
from armt.memories.none import NoMemoryConfig
from armt.recipes.registry import RECIPES
from armt.recurrence.model import Recurrent
from armt.tasks.copy_reverse import CopyReverseConfig
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.tasks.symbols import SymbolTaskConfig
from armt.tasks.tracking import TrackingConfig
from armt.training.callbacks.log import TrainingLog
from armt.training.config import RunConfig
from armt.training.run import prepare

_NUMS_DISTRACTORS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 20, 24)
_NUM_BEFORE = 4
"""Segments before the one that is asked for, at least: a pool is full by then and forgets."""

_DISTANCES = (0, 4, 9, 19, 39, 59, 79, 119, 159)

_NUMS_BLANK_SEGMENTS = (0, 1, 2, 4, 12, 28, 60, 124)
"""With the four segments of a copy: up to 16 times the most that was trained."""


def main() -> None:
    """Trains and measures every recipe with every seed, as far as there is time."""
    options = _options()
    with stopped_after(60 * options.minutes):
        for seed, name in product(options.seeds, options.recipes):
            book = open_book(options.results, seed, options.commit)
            config = RECIPES[name].entry().replaced("seed", seed).changed(options.set)
            _run(config, options.folder / f"{name}-seed-{seed}", book, options)


def _run(config: RunConfig, folder: Path, book: RecordBook, options: argparse.Namespace) -> None:
    """Trains one recipe with one seed, unless that is done, and records what is missing."""
    shared: dict[str, Any] = {"recipe": config.name, "changes": options.set}
    tests = [
        (task, shared | {"num_samples": options.num_samples, "memory": arm} | params)
        for task, params in _tests(config)
        for arm in _arms(config)
    ]
    missing = [test for test in tests if not book.holds("recall.exact_match", **test[1])]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config, folder, [TrainingLog(folder / "log.jsonl")])
    model = prepared.trainer.train()
    if not book.holds("train.seconds", **shared):
        seconds = prepared.trainer.progress.seconds
        _ = book.add("train.seconds", seconds, "s", **shared)
    for task, params in missing:
        # first, because the exact match says that a test is done
        if isinstance(config.memory, MPlusConfig) and params["memory"] == "on":
            assert isinstance(task, SegmentFactsConfig), "M+ is asked for facts"
            _measure_retriever(model, task, book, params)
        _measure(model, task, book, params)


def _measure(
    model: Recurrent, task: SymbolTaskConfig, book: RecordBook, params: dict[str, Any]
) -> None:
    prompts = task.build().evaluation_batch(params["num_samples"], book.seed)
    score = prompt_score(model, prompts, use_memory=params["memory"] != "off")
    _ = book.add("recall.exact_match", score.accuracy, "share", **params)


def _measure_retriever(
    model: Recurrent, task: SegmentFactsConfig, book: RecordBook, params: dict[str, Any]
) -> None:
    """Records what share of the tokens of the segment asked for each layer finds again."""
    prompts = task.build().evaluation_batch(params["num_samples"], book.seed)
    num_segments = task.num_segments + task.has_titles
    text_ids = prompts.prompt_ids[:, : num_segments * task.segment_len]
    asked = task.num_segments - 1 - params["distractors"]
    about = {name: params[name] for name in ("recipe", "changes", "segments", "distractors")}
    for layer, (wanted, every) in enumerate(retrieved_by_layer(model, text_ids, asked)):
        told = {"num_samples": wanted.num_samples, "layer": layer, **about}
        if wanted.num_samples and not book.holds("retriever.recall", **told):
            _ = book.add(
                "retriever.recall", wanted.accuracy, "share", chance=every.accuracy, **told
            )


def _tests(config: RunConfig) -> list[tuple[SymbolTaskConfig, dict[str, Any]]]:
    """Returns the tasks that a run is measured on, and what tells them apart in the records."""
    task = config.stages[-1].stream
    if isinstance(task, TrackingConfig):
        longer = [
            replace(task, num_sentences=max(task.num_sentences, distance + 1), distance=distance)
            for distance in _DISTANCES
        ]
        return [
            (each, {"sentences": each.num_sentences, "distance": each.distance}) for each in longer
        ]
    if isinstance(task, CopyReverseConfig):
        segment_len = config.recurrence.segment_len
        held = [replace(task, num_blanks=number * segment_len) for number in _NUMS_BLANK_SEGMENTS]
        return [
            (each, {"segments": -(-each.sequence_len // segment_len), "blanks": each.num_blanks})
            for each in held
        ]
    assert isinstance(task, SegmentFactsConfig), "a recipe that compares memories"
    return [_facts_test(task, number, config) for number in _NUMS_DISTRACTORS]


def _facts_test(
    task: SegmentFactsConfig, number: int, config: RunConfig
) -> tuple[SegmentFactsConfig, dict[str, Any]]:
    num_segments = max(task.num_segments, number + 1 + _NUM_BEFORE)
    has_own_titles = task.num_titles == task.num_segments
    test = replace(
        task,
        num_segments=num_segments,
        num_titles=num_segments if has_own_titles else task.num_titles,
        num_distractors=number,
    )
    params: dict[str, Any] = {"segments": num_segments, "distractors": number}
    memory = config.memory
    if isinstance(memory, MemoryLLMConfig | MPlusConfig):
        params["surviving"] = (1 - memory.num_memory_tokens / memory.num_slots) ** number
    return test, params


def _arms(config: RunConfig) -> tuple[str, ...]:
    return ("none",) if isinstance(config.memory, NoMemoryConfig) else ("on", "off")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_seeds_options(parser)
    _ = parser.add_argument("--recipes", nargs="+", required=True)
    _ = parser.add_argument("--num-samples", type=int, default=1024)
    return parser.parse_args()


if __name__ == "__main__":
    main()
