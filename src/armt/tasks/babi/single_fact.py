"""Task 1, a single supporting fact: people walk about; where is one of them?"""

import numpy as np

from armt.tasks.babi.format import Story, StoryLine
from armt.tasks.babi.world import (
    PLACES,
    IntArray,
    draw_moves,
    latest_moves,
    move_text,
    where_question,
)

NUM_QUESTIONS = 5
"""Questions of a story."""

FACTS_PER_QUESTION = 2
"""Moves before each question."""

_RECENCY_WEIGHTS = np.asarray([1.0, 0.85, 0.52, 0.33])
"""How often the one who moved last, last but one, ... is asked for, measured on the real data."""


def draw_single_fact_story(rng: np.random.Generator) -> Story:
    """Draws a story of ten moves with a question after each pair, like the published data.

    The question is about a person already told of, rather one who moved lately; the answer is his
    latest place and the support that one line.
    """
    moves = draw_moves(rng, NUM_QUESTIONS * FACTS_PER_QUESTION)
    latest = latest_moves(moves.people)
    lines: list[StoryLine] = []
    numbers: list[int] = []
    for index in range(len(moves.people)):
        person, verb, place = (int(array[index]) for array in moves)
        numbers.append(len(lines) + 1)
        lines.append(StoryLine(number=numbers[-1], text=move_text(person, verb, place)))
        if (index + 1) % FACTS_PER_QUESTION:
            continue
        told = latest[index + 1]
        asked = _draw_asked(rng, told)
        lines.append(
            StoryLine(
                number=len(lines) + 1,
                text=where_question(asked),
                answer=PLACES[int(moves.places[told[asked]])],
                supporting=(numbers[int(told[asked])],),
            )
        )
    return Story(lines=tuple(lines))


def _draw_asked(rng: np.random.Generator, told: IntArray) -> int:
    """Draws the person to ask for, given the index of each one's latest move or -1."""
    by_recency = [int(person) for person in np.argsort(-told) if told[person] >= 0]
    weights = _RECENCY_WEIGHTS[: len(by_recency)]
    return by_recency[int(rng.choice(len(by_recency), p=weights / weights.sum()))]
