"""The twenty tasks: number, official title, labels of the scorer, and how a story is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from armt.core.errors import UnknownNameError, suggestion
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import Story
from armt.tasks.babi.stories import (
    agents_motivations,
    basic_coreference,
    basic_deduction,
    basic_induction,
    compound_coreference,
    conjunction,
    counting,
    indefinite_knowledge,
    lists_sets,
    path_finding,
    positional_reasoning,
    simple_negation,
    single_supporting_fact,
    size_reasoning,
    three_arg_relations,
    three_supporting_facts,
    time_reasoning,
    two_arg_relations,
    two_supporting_facts,
    yes_no_questions,
)
from armt.tasks.babi.telling import NUM_QUESTIONS

_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
_TOWN_PLACES = ("bedroom", "cinema", "kitchen", "office", "park", "school")
_GIFTS = ("Bill", "Fred", "Jeff", "Mary", "apple", "football", "milk")
_MOTIVES = ("bedroom", "bored", "garden", "hungry", "kitchen", "thirsty", "tired")
_YES_NO = ("no", "yes")
_PATHS = ("e,e", "e,n", "e,s", "n,e", "n,n", "n,w", "s,e", "s,s", "s,w", "w,n", "w,s", "w,w")


@dataclass(frozen=True, kw_only=True)
class BabiTask:
    """One of the twenty tasks."""

    number: int
    """From 1 to 20."""

    title: str
    """The title in the names of the official files, such as `single-supporting-fact`."""

    labels: tuple[str, ...]
    """The words an answer is made of, by which the scorer finds it."""

    draw: Callable[..., Story]
    """Draws one story, `draw(dice)`; or, if all have `num_questions`, the beginning of the same one
    up to its question n, `draw(dice, n)`."""

    num_questions: int | None
    """Questions of every story; none where that differs or all facts come before them."""

    @property
    def name(self) -> str:
        """The short name, such as `qa1`."""
        return f"qa{self.number}"

    def draw_until(self, dice: Dice, question: int) -> Story:
        """Draws one story as far as a question of it, and tells nothing after that.

        `question` counts from 0, and on from the first one after the last.
        """
        if self.num_questions is not None:
            return self.draw(dice, question % self.num_questions + 1)
        lines = self.draw(dice).lines
        asked = [number for number, line in enumerate(lines) if line.is_question]
        return Story(lines=lines[: asked[question % len(asked)] + 1])


def babi_task(name: str) -> BabiTask:
    """Returns the task of that name, `qa1` to `qa20`.

    Raises:
        UnknownNameError: there is no such task; a near name is suggested.
    """
    if name not in BABI_TASKS:
        hint = suggestion(name, BABI_TASKS)
        raise UnknownNameError(f"Unknown bAbI task '{name}'.{hint} Known: qa1 to qa20.")
    return BABI_TASKS[name]


class _Row(NamedTuple):
    """What is told of one task."""

    draw: Callable[..., Story]
    labels: tuple[str, ...]
    num_questions: int | None = None


_ROWS = (
    _Row(single_supporting_fact.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(two_supporting_facts.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(three_supporting_facts.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(two_arg_relations.draw_story, _PLACES),
    _Row(three_arg_relations.draw_story, _GIFTS, NUM_QUESTIONS),
    _Row(yes_no_questions.draw_story, _YES_NO, NUM_QUESTIONS),
    _Row(counting.draw_story, ("none", "one", "two", "three"), NUM_QUESTIONS),
    _Row(lists_sets.draw_story, ("apple", "football", "milk", "nothing"), NUM_QUESTIONS),
    _Row(simple_negation.draw_story, _YES_NO, NUM_QUESTIONS),
    _Row(indefinite_knowledge.draw_story, ("maybe", "no", "yes"), NUM_QUESTIONS),
    _Row(basic_coreference.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(conjunction.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(compound_coreference.draw_story, _PLACES, NUM_QUESTIONS),
    _Row(time_reasoning.draw_story, _TOWN_PLACES, NUM_QUESTIONS),
    _Row(basic_deduction.draw_story, ("cat", "mouse", "sheep", "wolf")),
    _Row(basic_induction.draw_story, ("gray", "green", "white", "yellow")),
    _Row(positional_reasoning.draw_story, _YES_NO),
    _Row(size_reasoning.draw_story, _YES_NO),
    _Row(path_finding.draw_story, _PATHS),
    _Row(agents_motivations.draw_story, _MOTIVES),
)


def _title(draw: Callable[..., Story]) -> str:
    """Returns the title of the task of a generator, which its module is named by."""
    return draw.__module__.rpartition(".")[2].replace("_", "-")


BABI_TASKS: dict[str, BabiTask] = {
    f"qa{number}": BabiTask(number=number, title=_title(row.draw), **row._asdict())
    for number, row in enumerate(_ROWS, start=1)
}
"""All twenty tasks by their short names, in the order of their numbers."""
