"""Compares generated bAbI stories with the official training files, and reads them by rules.

    python benchmarks/babi_statistics.py --babi FOLDER --results benchmarks/results/NAME.jsonl

Two checks for each task. The rule reader, which knows the text alone, answers every question. And
the counts of what a story is made of are compared with the official file by a chi-square statistic
of two samples, bins of fewer than five merged. Sentences of one story hang together, so its usual
table does not hold: the bound is the 99.9 % quantile of the statistic between samples that were
both drawn, whole stories at a time, from the generated ones.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from records import open_book

from armt.benchmarking.records import RecordBook
from armt.core.errors import DataError
from armt.tasks.babi.archive import official_stories
from armt.tasks.babi.catalogue import BABI_TASKS, BabiTask
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Question, Story
from armt.tasks.babi.oracle import answer_from
from armt.tasks.babi.oracle.forms import GRAMMARS

_NUM_SETS = 2000
"""Pairs of samples that the bound is taken from."""

_QUANTILE = 0.999
_MIN_EXPECTED = 5

Key = tuple[str, str]
"""What is counted: the name of a histogram and of one of its bins."""

Counts = Float[np.ndarray, "..."]


class Comparison(NamedTuple):
    """One histogram of both samples."""

    chi_square: float
    degrees: int
    bound: float
    p_value: float
    num_only_official: int
    """Bins that the generated stories never fill."""

    num_only_generated: int

    @property
    def is_passed(self) -> bool:
        """Whether the difference may be chance."""
        return self.chi_square <= self.bound + 1e-4


def main() -> None:
    """Checks every task."""
    options = _options()
    book = open_book(options.results, options.seed, options.commit)
    failed: list[str] = []
    for name in options.tasks.split(",") if options.tasks else BABI_TASKS:
        task = BABI_TASKS[name]
        stories = _drawn(task, options.num_samples, options.seed)
        failed += _check_answers(book, task, stories)
        official = official_stories(options.babi, name, "train", variant=options.variant)
        counters = [[_counted(name, story) for story in each] for each in (stories, official)]
        rng = np.random.default_rng(options.seed)
        for histogram, comparison in _compare(*counters, rng=rng):
            book.add(
                "babi.chi_square", comparison.chi_square, "1", task=name, histogram=histogram,
                degrees=comparison.degrees, bound=comparison.bound, p_value=comparison.p_value,
                is_passed=comparison.is_passed, num_stories=len(stories),
                num_official_stories=len(official),
                num_only_official=comparison.num_only_official,
                num_only_generated=comparison.num_only_generated,
            )  # fmt: skip
            if not comparison.is_passed:
                failed.append(f"{name} {histogram}")
    print("Failed:", ", ".join(failed) or "nothing")


def _drawn(task: BabiTask, num_samples: int, seed: int) -> list[Story]:
    """Returns stories until they have enough questions."""
    stories: list[Story] = []
    num_questions = 0
    while num_questions < num_samples:
        story = task.draw(Dice("statistics", seed, task.name, len(stories)))
        stories.append(story)
        num_questions += len(story.questions())
    return stories


def _check_answers(book: RecordBook, task: BabiTask, stories: Sequence[Story]) -> list[str]:
    """Records how many questions the rule reader answers as the generator does."""
    asked = [question for story in stories for question in story.questions()]
    agreed = [_agrees(task.name, question) for question in asked]
    checks: dict[str, Callable[[tuple[bool, bool]], bool]] = {
        "babi.oracle_accuracy": lambda each: each[0],
        "babi.oracle_support": lambda each: each[1],
    }
    for name, pick in checks.items():
        share = sum(map(pick, agreed)) / len(agreed)
        book.add(name, share, "share", task=task.name, num_samples=len(agreed))
    return [] if all(answer for answer, _ in agreed) else [f"{task.name} answers"]


def _agrees(task: str, question: Question) -> tuple[bool, bool]:
    """Returns whether the rule reader finds the same answer and the same supporting facts."""
    try:
        reading = answer_from(task, question.facts, question.question)
    except DataError as error:
        print(task, error)
        return False, False
    supporting = {question.fact_numbers[index] for index in reading.supporting}
    return reading.answer == question.answer, supporting == set(question.supporting)


def _counted(task: str, story: Story) -> Counter[Key]:
    """Returns what a story is made of."""
    words = _words(task)
    counted: Counter[Key] = Counter()
    for line in story.lines:
        kind = "questions" if line.is_question else "facts"
        counted[kind, words.sub(lambda match: f"{{{match.lastgroup}}}", line.text)] += 1
        for match in words.finditer(line.text):
            counted[f"words of {kind}", f"{match.lastgroup} {match[0].lower()}"] += 1
    for question in story.questions():
        last = question.fact_numbers.index(max(question.supporting))
        counted["answers", question.answer] += 1
        counted["facts per sample", str(len(question.facts))] += 1
        counted["supporting facts", str(len(question.supporting))] += 1
        counted["facts after the support", str(len(question.facts) - 1 - last)] += 1
    counted["lines per story", str(len(story.lines))] += 1
    return counted


def _words(task: str) -> re.Pattern[str]:
    """Returns a pattern of the words that fill the slots of a task, longest first."""
    slots = GRAMMARS[task].words
    named = (
        f"(?P<{slot}>{'|'.join(sorted(words.split('|'), key=len, reverse=True))})"
        for slot, words in slots.items()
    )
    return re.compile(rf"\b(?:{'|'.join(named)})\b")


def _compare(
    generated: Sequence[Counter[Key]], official: Sequence[Counter[Key]], rng: np.random.Generator
) -> Iterator[tuple[str, Comparison]]:
    """Yields each histogram with its comparison."""
    totals = [sum(counters, Counter[Key]()) for counters in (generated, official)]
    by_histogram: dict[str, list[Key]] = {}
    for key in sorted(totals[0] | totals[1]):
        by_histogram.setdefault(key[0], []).append(key)
    few, many = _weights(len(official), len(generated), rng)
    for histogram, keys in by_histogram.items():
        ours, theirs = (_table(counters, keys) for counters in (generated, official))
        ours, theirs = _merged(ours, theirs)
        value = _chi_square(theirs.sum(0), ours.sum(0))
        chance = _chi_square(few @ ours, many @ ours)
        yield (
            histogram,
            Comparison(
                chi_square=round(float(value), 2),
                degrees=ours.shape[1] - 1,
                bound=round(float(np.quantile(chance, _QUANTILE)), 2),
                p_value=round(float((1 + (chance >= value - 1e-4).sum()) / (1 + len(chance))), 4),
                num_only_official=sum(key not in totals[0] for key in keys),
                num_only_generated=sum(key not in totals[1] for key in keys),
            ),
        )


def _weights(num_few: int, num_many: int, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Returns how often each generated story is in each small and in each large sample."""
    drawn = rng.integers(num_many, size=(_NUM_SETS, num_few))
    few = np.stack([np.bincount(picks, minlength=num_many) for picks in drawn])
    many = rng.poisson(1, size=(_NUM_SETS, num_many))
    return few.astype(np.float32), many.astype(np.float32)


def _table(counters: Sequence[Counter[Key]], keys: Sequence[Key]) -> Counts:
    """Returns the counts of each story, a column for each bin."""
    return np.array([[counter[key] for key in keys] for counter in counters], dtype=np.float32)


def _merged(ours: Counts, theirs: Counts) -> tuple[Counts, Counts]:
    """Merges the bins in which the smaller sample would have too few."""
    share = theirs.sum() / (ours.sum() + theirs.sum())
    is_rare = (ours.sum(0) + theirs.sum(0)) * share < _MIN_EXPECTED
    if not is_rare.any():
        return ours, theirs
    ours, theirs = (
        np.concatenate([each[:, ~is_rare], each[:, is_rare].sum(1, keepdims=True)], axis=1)
        for each in (ours, theirs)
    )
    return ours, theirs


def _chi_square(first: Counts, second: Counts) -> Counts:
    """Returns the statistic of two samples of counts; the bins are the last dimension."""
    ratio = np.sqrt(second.sum(-1, keepdims=True) / first.sum(-1, keepdims=True))
    parts = (first * ratio - second / ratio) ** 2 / np.maximum(first + second, 1)
    return parts.sum(-1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    _ = parser.add_argument("--babi", type=Path, required=True, help="folder or zip")
    _ = parser.add_argument("--variant", default=None, help="folder inside, such as en")
    _ = parser.add_argument("--results", type=Path, required=True)
    _ = parser.add_argument("--tasks", default="", help="such as qa1,qa2; all by default")
    _ = parser.add_argument("--num-samples", type=int, default=10_000)
    _ = parser.add_argument("--seed", type=int, default=0)
    _ = parser.add_argument("--commit", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()
