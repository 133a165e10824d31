"""The world of people who walk between places, drawn as arrays.

Statistics follow the published bAbI data, task 1: five verbs equally likely; a person never moves
to the place where he is; the one who moved last moves again in 22.7 % of the cases.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PEOPLE = ("Mary", "John", "Daniel", "Sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
MOVE_VERBS = ("went", "journeyed", "travelled", "moved", "went back")

SAME_ACTOR_SHARE = 0.227
"""How often the one who moved last moves again."""

NOWHERE = -1
"""The place of a person of whom nothing has been told."""

IntArray = npt.NDArray[np.int64]


class Moves(NamedTuple):
    """Moves in time; the last axis is time, those before it count independent worlds."""

    people: IntArray
    verbs: IntArray
    places: IntArray


def move_text(person: int, verb: int, place: int) -> str:
    """Returns the sentence that tells a move."""
    return f"{PEOPLE[person]} {MOVE_VERBS[verb]} to the {PLACES[place]}."


def where_question(person: int) -> str:
    """Returns the question for a person's place; the blank at its end is that of the real data."""
    return f"Where is {PEOPLE[person]}? "


def draw_moves(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Moves:
    """Draws moves of fresh worlds, without a loop over them.

    Actors are a walk modulo the number of people (step 0 = the same again).

    Args:
        rng: source of chance.
        shape: number of moves; with several entries the last is that number, the others count
            independent worlds.
    """
    actor_steps = rng.integers(1, len(PEOPLE), shape)
    actor_steps[rng.random(shape) < SAME_ACTOR_SHARE] = 0
    worlds = (*actor_steps.shape[:-1], 1)
    people = (rng.integers(len(PEOPLE), size=worlds) + actor_steps.cumsum(-1)) % len(PEOPLE)
    verbs = rng.integers(len(MOVE_VERBS), size=shape)
    return Moves(people, verbs, draw_places(rng, people))


def draw_places(rng: np.random.Generator, people: IntArray) -> IntArray:
    """Draws where each move leads, given who moves; time is the last axis.

    Each person's places are a walk modulo the number of places whose steps are never 0, from a
    hidden start.
    """
    place_steps = rng.integers(1, len(PLACES), people.shape)
    places = np.zeros_like(people)
    for person in range(len(PEOPLE)):
        is_own = people == person
        steps = (place_steps * is_own).cumsum(-1)
        steps += rng.integers(len(PLACES), size=(*people.shape[:-1], 1))
        places += is_own * (steps % len(PLACES))
    return places


def latest_moves(people: IntArray) -> IntArray:
    """Returns for each number of moves read so far who moved last when.

    Entry (..., i, p) is the index of person p's latest move among the first i, or -1; shape
    (..., number of moves + 1, number of people).
    """
    *worlds, num_moves = people.shape
    table = np.full((*worlds, num_moves + 1, len(PEOPLE)), -1, dtype=np.int64)
    is_own = people[..., None] == np.arange(len(PEOPLE))
    table[..., 1:, :] = np.where(is_own, np.arange(num_moves)[:, None], -1)
    return np.maximum.accumulate(table, axis=-2)


def known_places(moves: Moves) -> IntArray:
    """Returns each person's place after each number of moves, `NOWHERE` if not yet told.

    Shape (..., number of moves + 1, number of people).
    """
    latest = latest_moves(moves.people)
    found = np.take_along_axis(moves.places[..., None], np.maximum(latest, 0), axis=-2)
    return np.where(latest < 0, NOWHERE, found)
