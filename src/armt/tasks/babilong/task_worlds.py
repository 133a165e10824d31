"""The worlds of the tasks that a training stream can tell: tasks 1 to 5.

| task | told | asked | easier questions |
|---|---|---|---|
| `qa1` | moves | where a person is | |
| `qa2` | moves, gets, drops | where an object is | where a person is |
| `qa3` | moves, gets, drops | where an object was before a place | where an object, a person is |
| `qa4` | links between places | what lies beside a place | |
| `qa5` | moves, gets, drops, gifts | who gave what to whom | |

Stories are drawn as those of the evaluation, but told on as long as the text lasts; after the two
links of a map come those of another, and the latest counts. (A story that ended would leave nothing
to write in most of a long text, and a memory that learns from such texts closes.) Only a dense row
tells one map and no other. What is asked is more than what the official questions ask, where the
facts tell it: about any object, not only one of the last five facts, and already where someone
whose place was told has just taken it.
"""

from collections.abc import Iterator
from itertools import product
from typing import final

import numpy as np

from armt.core.errors import UnknownNameError, suggestion
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.links import COMPASS, STEPS, Link
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

_OPPOSITE_WEIGHT = 0.1
"""How often dense rows ask for a link in the opposite words, for once in its own. "What is north of
it?" wants the fact that says north, "What is it south of?" wants the same one: of a word, the one
form teaches to look for it and the other to avoid it. Asked equally often they cancel each other
out in a model that reads no direction yet, and it answers with a neighbour on either side for long;
so it does where the links of many maps stand in a row. A model that reads directions in a link's
own words soon does in the opposite ones."""

WALKING_WORDS = Words(PEOPLE, PLACES, MOVE_VERBS)
"""The words of task 1."""


def task_world(task: str, easier_weight: float, *, is_dense: bool = False) -> World:
    """Returns the world of a task.

    Args:
        task: `qa1` to `qa5`.
        easier_weight: how often an easier question is asked for one of the task's own; with 0 it
            never is.
        is_dense: whether dense rows tell it, from which task 4 learns directions.

    Raises:
        UnknownNameError: the task has no world.
    """
    if task not in TASKS:
        raise UnknownNameError(
            f"Task '{task}' has no training world.{suggestion(task, TASKS)} "
            f"Known: {', '.join(TASKS)}."
        )
    if task == "qa1":
        return WalkingWorld()
    if task == "qa4":
        return _map_world(is_dense)
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


def _map_world(is_dense: bool) -> SteppedWorld:
    """Returns the world of task 4: maps of three places and the two links between them.

    A dense row tells one map and asks for its links mostly in their own words; a longer text tells
    one map after the other and asks for the latest links, in either words.
    """
    links = [Link(*each) for each in product(PLACES, STEPS, PLACES) if each[0] != each[2]]
    questions = dict.fromkeys(text for link in links for text in _link_questions(link))
    in_own_words = {_link_questions(link)[0] for link in links}
    opposite_weight = _OPPOSITE_WEIGHT if is_dense else 1.0
    sentences = Sentences(
        facts=tuple(link.text(COMPASS) for link in links),
        questions=tuple(questions),
        answers=PLACES,
        weights=tuple(1.0 if each in in_own_words else opposite_weight for each in questions),
    )
    told_by = {link.text(COMPASS): link for link in links}

    def one_map(dice: Dice) -> Iterator[Step]:
        for line in draw_story(dice).lines:
            if not line.is_question:
                link = told_by[line.text]
                # what lay on the other side may not lie there any more, and nothing says so
                outdated = dict.fromkeys(_link_questions(link.reverse()))
                yield Step(line.text, outdated | _link_answers(link))

    def maps(dice: Dice) -> Iterator[Step]:
        while True:
            yield from one_map(dice)

    return SteppedWorld(sentences, WALKING_WORDS, one_map if is_dense else maps)


def _link_questions(link: Link) -> tuple[str, str]:
    """Returns the two questions about a link: its own words, and the opposite ones."""
    return (
        f"What is {COMPASS[link.step]} the {link.other}?",
        f"What is the {link.other} {COMPASS[link.reverse().step]}?",
    )


def _link_answers(link: Link) -> dict[str, str | None]:
    return dict.fromkeys(_link_questions(link), link.thing)
