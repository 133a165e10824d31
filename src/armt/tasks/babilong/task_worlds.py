"""The worlds of the tasks that a training stream can tell: tasks 1 to 5, and two stepping stones.

| task | told | asked | easier questions |
|---|---|---|---|
| `qa1` | moves | where a person is | |
| `qa2` | moves, gets, drops | where an object is | where a person is |
| `qa3` | moves, gets, drops | where an object was before a place | where an object, a person is |
| `qa4` | links of three places, or of six | what lies beside a place | |
| `qa5` | moves, gets, drops, gifts | who gave what to whom | |
| `one_map` | the links of one map, again and again | what lies beside a place | |
| `directions` | links of places between two | what lies beside these, in their words | |

Stories are drawn as those of the evaluation, but told on as long as the text lasts; after the links
of a map come those of another, and only the latest is asked of. (A story that ended would leave
nothing to write in most of a long text, and a memory that learns from such texts closes. And were
older maps asked of too, most answers would have been told so long before that no gradient reached
what wrote them.) What is asked is more than what the official questions ask, where the facts tell
it: about any object, not only one of the last five facts, and already where someone whose place was
told has just taken it.

In task 4 a model easily stays with the neighbour on either side of a place. That is right for most
of the official questions; and where it is not, "What is north of it?" wants the fact that says
north, "What is it south of?" the same one, so that of a word the one form teaches to look for it
and the other to avoid it. So every second map of `qa4` has two places between two, where
half of the answers are wrong that read no direction, and half of those that read no place. Two
worlds lead there. `one_map` asks seldom in the opposite words: enough to learn to read directions
within a row of one map. For a memory it is not. In `directions` every place asked for has two
neighbours and none is asked for in opposite words, so that nothing speaks against reading them.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, product
from typing import final

import numpy as np

from armt.core.errors import UnknownNameError, suggestion
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.links import COMPASS, STEPS, Link, opposite
from armt.tasks.babi.sentences import THERE_SHARE
from armt.tasks.babi.stories.two_arg_relations import draw_story
from armt.tasks.babi.world import (
    MOVE_VERBS,
    PEOPLE,
    PLACES,
    IntArray,
    draw_moves,
    known_places,
    move_text,
    where_question,
)
from armt.tasks.babilong.carrying_steps import (
    carrying_sentences,
    carrying_steps,
    carrying_words,
    giving_sentences,
    giving_steps,
    giving_words,
)
from armt.tasks.babilong.worlds import Sentences, Step, SteppedWorld, Telling, Words, World

TASKS = ("qa1", "qa2", "qa3", "qa4", "qa5")
"""The tasks that have a world."""

WORLDS = (*TASKS, "one_map", "directions")
"""All that a stream can tell."""

_LINKS = {
    link.text(COMPASS): link
    for link in (Link(*each) for each in product(PLACES, STEPS, PLACES) if each[0] != each[2])
}
"""All links between two places, by their sentences."""

_STORY_SHARE = 0.5
"""How many of the maps of `qa4` are those of a story of the evaluation."""

_OPPOSITE_WEIGHT = 0.1
"""How often `one_map` asks for a link in the opposite words, for once in its own."""

WALKING_WORDS = Words(PEOPLE, PLACES, MOVE_VERBS)
"""The words of task 1."""


def task_world(task: str, easier_weight: float) -> World:
    """Returns the world of a task.

    Args:
        task: one of `WORLDS`.
        easier_weight: how often an easier question is asked for one of the task's own; with 0 it
            never is.

    Raises:
        UnknownNameError: the task has no world.
    """
    if task not in WORLDS:
        raise UnknownNameError(
            f"Task '{task}' has no training world.{suggestion(task, WORLDS)} "
            f"Known: {', '.join(WORLDS)}."
        )
    if task == "qa1":
        return WalkingWorld()
    if task == "qa4":
        return _map_world(_maps, 1.0)
    if task == "one_map":
        return _map_world(_one_map, _OPPOSITE_WEIGHT)
    if task == "directions":
        return _map_world(_middles, 0.0)
    if task == "qa5":
        return SteppedWorld(giving_sentences(), giving_words(), giving_steps)
    has_before = task == "qa3"
    sentences = carrying_sentences(easier_weight, has_before=has_before)
    there_share = THERE_SHARE if has_before else 1.0

    def steps(dice: Dice) -> Iterator[Step]:
        return carrying_steps(dice, there_share)

    return SteppedWorld(sentences, carrying_words(), steps)


@final
class WalkingWorld:
    """The world of task 1, drawn as arrays."""

    def __init__(self) -> None:
        """Writes its sentences."""
        kinds = product(range(len(PEOPLE)), range(len(MOVE_VERBS)), range(len(PLACES)))
        self.sentences = Sentences(
            facts=tuple(move_text(*kind) for kind in kinds),
            questions=tuple(where_question(person) for person in range(len(PEOPLE))),
            answers=PLACES,
            weights=(1.0,) * len(PEOPLE),
        )
        self.words = WALKING_WORDS

    def open(self, rng: np.random.Generator) -> "WalkingStory":
        """Opens a story whose moves are drawn when it is told."""
        return WalkingStory(self, rng)

    def tell_many(self, rng: np.random.Generator, num_facts: IntArray) -> Telling:
        """Tells stories, all at once and as long as the longest."""
        return self.tell(rng, (len(num_facts), int(num_facts.max())))

    def tell(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Telling:
        """Tells stories, the last entry of `shape` being the facts of each."""
        moves = draw_moves(rng, shape)
        facts = (moves.people * len(MOVE_VERBS) + moves.verbs) * len(PLACES) + moves.places
        known = known_places(moves)
        return Telling(facts, known, np.broadcast_to(np.arange(len(PEOPLE)), known.shape))


@final
class WalkingStory:
    """A story of task 1: each move can be asked for, so one early fact is enough."""

    num_settled = 0

    def __init__(self, world: WalkingWorld, rng: np.random.Generator) -> None:
        """Draws how many facts come soon."""
        self._world = world
        self._rng = rng
        self.num_early = int(rng.integers(1, len(PEOPLE) + 1))

    def tell(self, num_facts: int) -> Telling:
        """Tells so many moves."""
        return self._world.tell(self._rng, (num_facts,))


def _map_world(
    draw_maps: Callable[[Dice], Iterator[Iterable[Link]]], opposite_weight: float
) -> SteppedWorld:
    """Returns a world of links between places.

    Args:
        draw_maps: draws the maps of a story, each the links that are told of it.
        opposite_weight: how often a link is asked for in the opposite words, for once in its own.
    """
    weights: dict[str, float] = {}
    for link in _LINKS.values():
        weights |= zip(_link_questions(link), (1.0, opposite_weight), strict=True)
    asked = {question: weight for question, weight in weights.items() if weight}
    sentences = Sentences(
        facts=tuple(_LINKS),
        questions=tuple(asked),
        answers=PLACES,
        weights=tuple(asked.values()),
    )

    def steps(dice: Dice) -> Iterator[Step]:
        told: dict[str, str] = {}
        for links in draw_maps(dice):
            outdated, told = dict.fromkeys(told), {}
            for link in links:
                answers = dict.fromkeys(_link_questions(link), link.thing)
                yield Step(link.text(COMPASS), outdated | answers)
                outdated, told = {}, told | answers

    return SteppedWorld(sentences, WALKING_WORDS, steps)


def _maps(dice: Dice) -> Iterator[list[Link]]:
    """Draws maps one after the other: stories of task 4, or two places between two."""
    while True:
        if dice.chance(_STORY_SHARE):
            yield _links_of_story(dice)
        else:
            yield dice.shuffle(_links_of_middles(dice, 2))


def _one_map(dice: Dice) -> Iterator[Iterable[Link]]:
    """Draws the map of a story of task 4, told again and again."""
    yield cycle(_links_of_story(dice))


def _middles(dice: Dice) -> Iterator[list[Link]]:
    """Draws places between two and their links, told of these in either order."""
    while True:
        yield _links_of_middles(dice, 1)


def _links_of_middles(dice: Dice, number: int) -> list[Link]:
    """Returns the links of so many places between two, told of these; no place is in two."""
    places = iter(dice.take(PLACES, 3 * number))
    links: list[Link] = []
    for one, middle, other in zip(places, places, places, strict=True):
        step = dice.pick(STEPS)
        links += (Link(one, step, middle), Link(other, opposite(step), middle))
    return links


def _links_of_story(dice: Dice) -> list[Link]:
    return [_LINKS[line.text] for line in draw_story(dice).lines if not line.is_question]


def _link_questions(link: Link) -> tuple[str, str]:
    """Returns the two questions about a link: its own words, and the opposite ones."""
    return (
        f"What is {COMPASS[link.step]} the {link.other}?",
        f"What is the {link.other} {COMPASS[link.reverse().step]}?",
    )
