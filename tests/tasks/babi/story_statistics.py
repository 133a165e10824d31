"""Histograms of stories, and how far those of two sets of stories are apart."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from armt.tasks.babi.format import Story

NUM_SIGMAS = 5
"""A chi-square beyond its mean by so many of its standard deviations is a difference."""

FEWEST = 8
"""Kinds that fewer of the real stories have are told apart no further."""

WORDS = {
    "P": "Mary|John|Daniel|Sandra|Fred|Bill|Jeff|Julie",
    "L": "bathroom|bedroom|garden|hallway|kitchen|office",
    "O": "apple|football|milk",
}


class Distance(NamedTuple):
    """Chi-square of a difference of means and its degrees of freedom."""

    chi_square: float
    degrees: int

    @property
    def is_small(self) -> bool:
        return self.chi_square <= self.degrees + NUM_SIGMAS * (2 * self.degrees) ** 0.5


@cache
def template(text):
    """Returns the sentence with people, places and objects replaced by placeholders."""
    for placeholder, words in WORDS.items():
        text = re.sub(rf"\b({words})\b", placeholder, text)
    return text


def templates(story):
    return [template(line.text) for line in story.lines]


def facts_of_a_story(story):
    """Number of facts, in steps of about a third."""
    return [int(3 * np.log(sum(not line.is_question for line in story.lines)))]


def answers(story):
    return [question.answer for question in story.questions()]


def num_supporting(story):
    return [len(question.supporting) for question in story.questions()]


def facts_since_support(story):
    return [
        len(question.facts) - question.fact_numbers.index(max(question.supporting))
        for question in story.questions()
    ]


def facts_between_questions(story):
    counts = [0] + [len(question.facts) for question in story.questions()]
    return [after - before for before, after in pairwise(counts)]


def pairs_of_actions(story):
    """Kinds of two facts in a row and whether the same person acts."""
    facts = [line.text for line in story.lines if not line.is_question]
    acts = [(fact.split()[0], action(fact)) for fact in facts]
    return [(before[1], after[1], before[0] == after[0]) for before, after in pairwise(acts)]


@cache
def action(fact):
    """Returns what the sentence tells, its verb set aside."""
    if re.search(r" to (Mary|John|Daniel|Sandra|Fred|Bill|Jeff)\.", fact):
        return "give"
    if " to the " in fact:
        return "move"
    found = re.search(r" (got|took|grabbed|picked up|is in|is not in|is no longer in) ", fact)
    return "drop" if found is None else "get" if found[1][:2] != "is" else found[1]


STATISTICS: dict[str, Callable[[Story], Sequence[object]]] = {
    feature.__name__: feature
    for feature in (
        templates,
        facts_of_a_story,
        answers,
        num_supporting,
        facts_since_support,
        facts_between_questions,
        pairs_of_actions,
    )
}


def distance(feature: Callable[[Story], Sequence[object]], own, real) -> Distance:
    """Compares how often each kind occurs in a story.

    What one story tells and asks hangs together, so the covariance of a story's counts, taken from
    the larger set `own`, stands where independent draws would have their frequencies.
    """
    own_counts, real_counts = ([Counter(feature(story)) for story in each] for each in (own, real))
    seen: Counter[object] = Counter()
    for count in real_counts:
        seen.update(set(count))
    kinds = {kind: index for index, kind in enumerate(k for k in seen if seen[k] >= FEWEST)}
    tables = [table_of(counts, kinds) for counts in (own_counts, real_counts)]
    difference = tables[0].mean(0) - tables[1].mean(0)
    covariance = np.atleast_2d(np.cov(tables[0].T)) * sum(1 / len(table) for table in tables)
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)
    rank = int(
        np.linalg.matrix_rank(covariance, tol=1e-9 * np.abs(covariance).max(), hermitian=True)
    )
    off = difference - covariance @ inverse @ difference
    differs_where_own_never_varies = np.abs(off).max() > 1e-6
    chi_square = np.inf if differs_where_own_never_varies else difference @ inverse @ difference
    return Distance(float(chi_square), rank)


def table_of(counts: Sequence[Counter[object]], kinds: dict[object, int]):
    """Returns how often each story has each kind; the last column is whether it has a rare one."""
    table = np.zeros((len(counts), len(kinds) + 1))
    for row, count in zip(table, counts, strict=True):
        for kind, index in kinds.items():
            row[index] = count[kind]
        row[-1] = any(kind not in kinds for kind in count)
    return table
