"""Links between neighbours, and the order in which they are told."""

from collections import Counter

import pytest

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.links import COMPASS, STEPS, Link, draw_order, opposite

NORTH, EAST = (0, 1), (1, 0)
STAR = [Link(leaf, step, "hub") for leaf, step in zip("abcd", STEPS, strict=True)]
PATH = [Link("b", EAST, "a"), Link("c", EAST, "b")]


@pytest.mark.parametrize("step", STEPS)
def test_the_step_back_undoes_a_step(step):
    back = opposite(step)
    assert (step[0] + back[0], step[1] + back[1]) == (0, 0)
    assert opposite(back) == step


def test_a_link_can_be_told_of_either_thing():
    link = Link("office", NORTH, "kitchen")
    assert link.text(COMPASS) == "The office is north of the kitchen."
    assert link.reverse().text(COMPASS) == "The kitchen is south of the office."
    assert link.reverse().reverse() == link


def test_all_links_are_told_once():
    for seed in range(50):
        told = draw_order(Dice(seed), STAR)
        assert sorted(min(link, link.reverse()) for link in told) == sorted(
            min(link, link.reverse()) for link in STAR
        )


def test_a_link_is_told_of_the_end_with_fewer_links():
    num_outer = sum(
        link.thing != "b" for seed in range(2000) for link in draw_order(Dice(seed), PATH)
    )
    assert num_outer / 4000 == pytest.approx(2 / 3, abs=0.03)


def test_links_of_things_with_fewer_come_early():
    """Ends b and c of the first link have two links, d and e of the others one."""
    links = [Link("c", EAST, "b"), Link("d", NORTH, "b"), Link("e", NORTH, "c")]
    first = Counter(
        frozenset((told.thing, told.other))
        for seed in range(2000)
        for told in draw_order(Dice(seed), links)[:1]
    )
    # Drawn with 1/4 * (1/2 + 1/2) as against 1/4 * (1 + 1/2).
    assert first[frozenset("bc")] / 2000 == pytest.approx(0.25, abs=0.04)
