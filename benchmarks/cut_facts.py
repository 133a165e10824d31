"""Measures what a border of segments does to a fact that it cuts, and half a fact to what is known.

    python benchmarks/cut_facts.py --folder runs/qa1 --trained runs/qa1/weights.safetensors \
        --results benchmarks/results/NAME.jsonl

Someone's place is told in the first of three segments of held-out prose. At the border between the
second and the third stands nothing, the first half of another fact about the same person, the
second half of one, or a whole one. Asked at the end, the person is where the last whole fact says.

A cell (LENGTH:COUNT) is one of the evaluation: of its questions those are asked whose answer stands
in a fact that a border of segments without overlap cuts.
"""

import argparse
from functools import partial
from typing import NamedTuple

import numpy as np
from trained import add_trained_options, load_trained

from armt.benchmarking.babilong import Exam, count_right, count_right_side_by_side
from armt.recurrence.model import Recurrent
from armt.tasks.babi.world import MOVE_VERBS, PEOPLE, PLACES, move_text, where_question
from armt.tasks.babilong import BackgroundStore, BackgroundWalk
from armt.tasks.babilong.asking import question_about
from armt.tasks.babilong.sample import spell_answer, spell_question
from armt.tasks.contract import Ids, Sample, TextEncoder

KINDS = ("nothing", "first half", "second half", "whole fact")

_NUM_SEGMENTS, _NUM_ROWS = 3, 32


class _Source(NamedTuple):
    """What the texts are made of."""

    store: BackgroundStore
    encoder: TextEncoder
    segment_len: int


def main() -> None:
    """Measures every kind."""
    options = _options()
    model, exam = load_trained(options)
    (task,) = exam.tasks
    source = _Source(exam.store, task.encoder, model.recurrence.segment_len)
    for cell in options.cells:
        _measure_cell(model, exam, cell)
    for kind in KINDS if options.num_samples else ():
        rng = np.random.default_rng([options.seed, KINDS.index(kind)])
        num_right = 0
        for start in range(0, options.num_samples, _NUM_ROWS):
            num_rows = min(_NUM_ROWS, options.num_samples - start)
            samples = [_sample(source, kind, rng) for _ in range(num_rows)]
            num_right += count_right_side_by_side(model, samples, task.encoder)["on"]
        _ = exam.book.add(
            "memory.border_accuracy", num_right / options.num_samples, "share", kind=kind,
            num_samples=options.num_samples, model=exam.recipe,
            overlap_len=model.recurrence.overlap_len,
        )  # fmt: skip


def _measure_cell(model: Recurrent, exam: Exam, cell: str) -> None:
    """Asks the questions of a cell whose facts are cut."""
    (task,), (length, _, count) = exam.tasks, cell.partition(":")
    samples = [task.sample(length, index) for index in task.indices(length, int(count))]
    segment_len = model.recurrence.segment_len
    cut = [sample.index for sample in samples if _is_cut(sample, segment_len)]
    _ = exam.book.add(
        "babilong.cut_right", count_right(model, task, length, cut)["on"], "questions",
        tokens=length, num_cut=len(cut), num_samples=len(samples),
        overlap_len=model.recurrence.overlap_len, model=exam.recipe, numbers=cut,
    )  # fmt: skip


def _is_cut(sample: Sample, segment_len: int) -> bool:
    """Whether a border cuts the last fact about the person who is asked for."""
    told = [fact for fact in sample.facts if question_about(fact) == sample.question]
    last = max(told, key=lambda fact: fact.start)
    return last.start // segment_len != (last.start + last.length - 1) // segment_len


def _sample(source: _Source, kind: str, rng: np.random.Generator) -> Sample:
    """Returns a text with its question."""
    store, encoder, segment_len = source
    person = int(rng.integers(len(PEOPLE)))
    old, new = (int(place) for place in rng.choice(len(PLACES), 2, replace=False))
    first, second = (_fact(encoder, person, place, rng) for place in (old, new))
    text_len, border = _NUM_SEGMENTS * segment_len, (_NUM_SEGMENTS - 1) * segment_len
    text = BackgroundWalk(store, rng).take(text_len).tokens[:text_len].astype(np.int64)
    start = int(rng.integers(segment_len - len(first)))
    text[start : start + len(first)] = first
    cut = int(rng.integers(1, len(second)))
    if kind in ("first half", "whole fact"):
        text[border - cut : border] = second[:cut]
    if kind in ("second half", "whole fact"):
        text[border : border + len(second) - cut] = second[cut:]
    place, question = PLACES[new if kind == "whole fact" else old], where_question(person)
    return Sample(
        task="qa1",
        length=text_len,
        index=0,
        context=partial(iter, [text]),
        context_len=text_len,
        text=partial(iter, [encoder.decode(text.tolist())]),
        question=question,
        question_ids=spell_question(encoder, question),
        answer=place,
        answer_ids=spell_answer(encoder, place),
    )


def _fact(encoder: TextEncoder, person: int, place: int, rng: np.random.Generator) -> Ids:
    verb = int(rng.integers(len(MOVE_VERBS)))
    return np.asarray(encoder.encode(" " + move_text(person, verb, place)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_trained_options(parser)
    _ = parser.add_argument("--num-samples", type=int, default=256, help="of each kind")
    _ = parser.add_argument("--cells", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
