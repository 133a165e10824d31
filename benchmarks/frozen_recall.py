"""Trains a small backbone without a memory, freezes it, and measures what CAMELoT recalls with it.

    python benchmarks/frozen_recall.py --folder runs/frozen --results benchmarks/results/NAME.jsonl

Takes a few minutes on one core for each seed.
"""

import argparse
from dataclasses import replace
from typing import cast

from records import add_run_options, open_book
from torch import nn

from armt.benchmarking.records import RecordBook
from armt.core.config import MemoryConfig
from armt.evaluation.prompts import forced_score
from armt.memories.camelot import CAMELoTState
from armt.recipes.frozen_recall import FROZEN_SEGMENT_LEN, frozen_arms, frozen_recall
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.model import Recurrent
from armt.tasks.segment_facts import SegmentFactsConfig
from armt.tasks.symbols import Prompts
from armt.training.config import RunConfig
from armt.training.run import build_model, prepare

_NUMS_DISTRACTORS = (0, 1, 2, 4, 8, 12)


def main() -> None:
    """Trains, and measures every arm at every distance."""
    options = _options()
    config = frozen_recall().replaced("seed", options.seed).changed(options.set)
    book = open_book(options.results, options.seed, options.commit)
    prepared = prepare(config, options.folder)
    trained = prepared.trainer.train()
    seconds = prepared.trainer.progress.seconds
    _ = book.add("train.seconds", seconds, "s", recipe=config.name, changes=options.set)
    for arm, memory in frozen_arms().items():
        _measure(_frozen(trained, config, memory), config, arm, book, options.num_samples)


def _frozen(trained: Recurrent, config: RunConfig, memory: MemoryConfig) -> Recurrent:
    """Returns the trained backbone with another memory and shorter segments."""
    recurrence = RecurrenceConfig(segment_len=FROZEN_SEGMENT_LEN)
    model = build_model(replace(config, memory=memory, recurrence=recurrence), None)
    weights = cast("nn.Module", trained).state_dict()
    _ = cast("nn.Module", model).load_state_dict(weights)
    return cast("Recurrent", cast("nn.Module", model).to(trained.device))


def _measure(
    model: Recurrent, config: RunConfig, arm: str, book: RecordBook, num_samples: int
) -> None:
    task = config.stages[-1].stream
    assert isinstance(task, SegmentFactsConfig), "the backbone looks up facts of segments"
    for number in _NUMS_DISTRACTORS:
        test = replace(task, num_segments=number + 1, num_distractors=number).build()
        prompts = test.evaluation_batch(num_samples, book.seed)
        params = {"arm": arm, "distractors": number, "recipe": config.name}
        score = forced_score(model, prompts)
        _ = book.add(
            "frozen_recall.accuracy", score.accuracy, "share", num_samples=score.num_samples,
            **params,
        )  # fmt: skip
        used = _slots_used(model, prompts)
        if used is not None:
            _ = book.add("frozen_recall.slots_used", used, "slots", **params)


def _slots_used(model: Recurrent, prompts: Prompts) -> float | None:
    """Returns how many slots of a head are in use after the text, on average."""
    layers = model.read(prompts.prompt_ids).layers
    found = [state for state in layers if isinstance(state, CAMELoTState)]
    if not found:
        return None
    return sum(float((state.counts > 0).sum(-1).double().mean()) for state in found) / len(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_options(parser)
    _ = parser.add_argument("--num-samples", type=int, default=256)
    return parser.parse_args()


if __name__ == "__main__":
    main()
