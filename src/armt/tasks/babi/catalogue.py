"""The twenty tasks: number, official title, labels of the scorer, and how a story is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from armt.core.errors import UnknownNameError
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

_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
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

    draw: Callable[[Dice], Story]
    """Draws one story."""

    @property
    def name(self) -> str:
        """The short name, such as `qa1`."""
        return f"qa{self.number}"


def babi_task(name: str) -> BabiTask:
    """Returns the task of that name, `qa1` to `qa20`.

    Raises:
        UnknownNameError: there is no such task; a near name is suggested.
    """
    if name not in BABI_TASKS:
        near = get_close_matches(name, BABI_TASKS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UnknownNameError(f"Unknown bAbI task '{name}'.{hint} Known: qa1 to qa20.")
    return BABI_TASKS[name]


_TASKS: tuple[tuple[Callable[[Dice], Story], tuple[str, ...]], ...] = (
    (single_supporting_fact.draw_story, _PLACES),
    (two_supporting_facts.draw_story, _PLACES),
    (three_supporting_facts.draw_story, _PLACES),
    (two_arg_relations.draw_story, _PLACES),
    (three_arg_relations.draw_story, ("Bill", "Fred", "Jeff", "Mary", "apple", "football", "milk")),
    (yes_no_questions.draw_story, _YES_NO),
    (counting.draw_story, ("none", "one", "two", "three")),
    (lists_sets.draw_story, ("apple", "football", "milk", "nothing")),
    (simple_negation.draw_story, _YES_NO),
    (indefinite_knowledge.draw_story, ("maybe", "no", "yes")),
    (basic_coreference.draw_story, _PLACES),
    (conjunction.draw_story, _PLACES),
    (compound_coreference.draw_story, _PLACES),
    (time_reasoning.draw_story, ("bedroom", "cinema", "kitchen", "office", "park", "school")),
    (basic_deduction.draw_story, ("cat", "mouse", "sheep", "wolf")),
    (basic_induction.draw_story, ("gray", "green", "white", "yellow")),
    (positional_reasoning.draw_story, _YES_NO),
    (size_reasoning.draw_story, _YES_NO),
    (path_finding.draw_story, _PATHS),
    (
        agents_motivations.draw_story,
        ("bedroom", "bored", "garden", "hungry", "kitchen", "thirsty", "tired"),
    ),
)


def _title(draw: Callable[[Dice], Story]) -> str:
    """Returns the title of the task of a generator, which its module is named by."""
    return draw.__module__.rpartition(".")[2].replace("_", "-")


BABI_TASKS: dict[str, BabiTask] = {
    f"qa{number}": BabiTask(number=number, title=_title(draw), labels=labels, draw=draw)
    for number, (draw, labels) in enumerate(_TASKS, start=1)
}
"""All twenty tasks by their short names, in the order of their numbers."""
