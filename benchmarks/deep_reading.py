"""Reads texts too long for one run, in several, and asks for everyone they tell of.

    python benchmarks/deep_reading.py --folder runs/qa1 --trained runs/qa1/weights.safetensors \
        --length 1B --rows 8 --minutes 9 --state runs/deep --results benchmarks/results/NAME.jsonl

Run it again with the same `--state` until the texts end: it goes on where it stopped. A context is
that of the task's evaluation; besides its own question there is one for every other person in it.
Where a run stops in the middle it asks for everyone told of so far, and leaves the state as it is.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from trained import add_trained_options, load_trained

from armt.benchmarking.records import RecordBook
from armt.core.files import write_text
from armt.evaluation.answers import answer_after, evaluating, stretches
from armt.evaluation.metrics import Score
from armt.evaluation.subject import Arm
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.recurrence.state_file import load_state, save_state
from armt.tasks.babilong.asking import ask_for_everyone
from armt.tasks.contract import Ids, Sample, TextEncoder


class DeepReading(NamedTuple):
    """A model and the texts that it reads."""

    name: str
    """Name of the recipe."""

    model: Recurrent
    encoder: TextEncoder
    samples: list[Sample]
    book: RecordBook


def main() -> None:
    """Reads on, and asks for what was told."""
    options = reading_options(__doc__).parse_args()
    end = time.monotonic() + 60 * options.minutes
    name, model, encoder, samples, book = begin(options)
    state, seconds = _read_on(model, samples, options.state, end)
    num_read = int(state.num_tokens[0])
    is_whole = num_read == samples[0].context_len
    print(f"{seconds:.0f} s, {samples[0].context_len - num_read:,} tokens to go", flush=True)
    about = {
        "task": "qa1", "tokens": options.length if is_whole else num_read, "model": name,
        "num_readings": len(samples), "first": options.first, "text": options.length,
        "overlap_len": model.recurrence.overlap_len,
    }  # fmt: skip
    _ = book.add("read.seconds", seconds, "s", batch=len(samples), **about)
    asked = [ask_for_everyone(sample, encoder, num_read) for sample in samples]
    for (kind, arm), score in scores(model, asked, state, encoder).items():
        params = about | {"asked": kind if is_whole else "so far"}
        if is_whole or kind == "everyone":
            _ = book.add(
                "babilong.accuracy", score.accuracy, "share", memory=arm,
                num_samples=score.num_samples, **params,
            )  # fmt: skip


def begin(options: argparse.Namespace) -> DeepReading:
    """Returns the model with its weights and the texts that the options tell."""
    model, exam = load_trained(options)
    (task,) = exam.tasks
    rows = range(options.first, options.first + options.rows)
    samples = [task.sample(options.length, index) for index in rows]
    return DeepReading(exam.recipe, model, task.encoder, samples, exam.book)


def state_path(folder: Path) -> Path:
    """Returns where the state of a reading stands in its folder."""
    return folder / "state.safetensors"


def _read_on(
    model: Recurrent, samples: list[Sample], folder: Path, end: float
) -> tuple[RecurrentState, float]:
    """Reads until the texts or the time end; returns the state and the seconds of all runs."""
    path, clock = state_path(folder), folder / "seconds.json"
    state, seconds = model.init_state(len(samples)), 0.0
    if path.exists():
        state, seconds = load_state(path, model), json.loads(clock.read_text(encoding="utf-8"))
    num_read = int(state.num_tokens[0])
    texts = stretches(
        [_rest(sample.context(), num_read) for sample in samples], model.recurrence.segment_len
    )
    started = time.monotonic()
    with evaluating(model):
        state = model.read(takewhile(lambda _: time.monotonic() < end, texts), state)
    seconds += time.monotonic() - started
    folder.mkdir(parents=True, exist_ok=True)
    save_state(path, state, model)
    write_text(clock, json.dumps(seconds))
    return state, seconds


def _rest(pieces: Iterator[Ids], num_read: int) -> Iterator[Ids]:
    """Yields what comes after the first `num_read` tokens."""
    for piece in pieces:
        if num_read < len(piece):
            yield piece[num_read:]
        num_read = max(0, num_read - len(piece))


def scores(
    model: Recurrent,
    asked: list[list[Sample]],
    state: RecurrentState,
    encoder: TextEncoder,
) -> dict[tuple[str, Arm], Score]:
    """Returns how many questions are answered right, everyone's and the own ones, by arm."""
    rows = np.repeat(np.arange(len(asked)), [len(each) for each in asked])
    questions = [question for each in asked for question in each]
    is_own = [number == 0 for each in asked for number in range(len(each))]
    forks = state.select_rows(torch.from_numpy(rows))
    found: dict[tuple[str, Arm], Score] = {}
    for arm, answers in answer_after(model, questions, forks, end_id=encoder.end_id).items():
        rights = [
            encoder.decode(ids).strip() == question.answer
            for question, ids in zip(questions, answers, strict=True)
        ]
        own = [right for right, counts in zip(rights, is_own, strict=True) if counts]
        found["everyone", arm] = Score(sum(rights), len(rights))
        found["own", arm] = Score(sum(own), len(own))
    return found


def reading_options(description: str | None) -> argparse.ArgumentParser:
    """Returns the options of a reading."""
    parser = argparse.ArgumentParser(description=description)
    add_trained_options(parser)
    _ = parser.add_argument("--length", default="1B", help="tokens of a text")
    _ = parser.add_argument("--first", type=int, default=0, help="number of the first text")
    _ = parser.add_argument("--rows", type=int, default=8, help="texts side by side")
    _ = parser.add_argument("--minutes", type=float, default=9.0, help="time of this run's reading")
    _ = parser.add_argument("--state", type=Path, required=True, help="folder to go on from")
    return parser


if __name__ == "__main__":
    main()
