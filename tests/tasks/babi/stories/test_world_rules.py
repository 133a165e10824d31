"""Tasks 4 and 15 to 20: own and published stories keep the rules of their small worlds."""

import re
from collections import Counter
from functools import cache

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import read_stories

STEPS = {
    "north of": (0, 1),
    "south of": (0, -1),
    "east of": (1, 0),
    "west of": (-1, 0),
    "above": (0, 1),
    "below": (0, -1),
    "to the right of": (1, 0),
    "to the left of": (-1, 0),
}
LINK = rf"The (.+) is ({'|'.join(STEPS)}) the (.+)\.$"
REMEDIES = {
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
    "bored": ("garden", "football"),
    "tired": ("bedroom", "pajamas"),
}


@cache
def stories_of(name, folder=None):
    if folder is not None:
        return read_stories(next((folder / "babi" / "en").glob(f"{name}_*_train.txt")))
    return [BABI_TASKS[name].draw(Dice("rules", name, index)) for index in range(400)]


@pytest.fixture(params=["own", "real"])
def folder(request):
    """The published stories are put under the same checks, so that the checks are right."""
    return None if request.param == "own" else request.getfixturevalue("shared_data")


def link_of(fact):
    thing, words, other = re.match(LINK, fact).groups()
    return thing, STEPS[words], other


def plus(cell, step, times=1):
    return cell[0] + times * step[0], cell[1] + times * step[1]


def cells_of(facts):
    """Lays the things of the facts on a grid, step by step."""
    links = [link_of(fact) for fact in facts]
    cells = {links[0][0]: (0, 0)}
    for _ in links:
        for thing, step, other in links:
            if thing in cells:
                cells.setdefault(other, plus(cells[thing], step, -1))
            elif other in cells:
                cells[thing] = plus(cells[other], step)
    assert all(cells[thing] == plus(cells[other], step) for thing, step, other in links)
    return cells


def test_three_places_lie_in_a_row(folder):
    for story in stories_of("qa4", folder):
        (question,) = story.questions()
        cells = cells_of(question.facts)
        assert len(cells) == len(set(cells.values())) == 3
        axes = {step[0] == 0 for _, step, _ in map(link_of, question.facts)}
        assert len(axes) == 1
        asked = re.match(r"What is (\w+ of) the (\w+)\?$", question.question)
        if asked:
            words, known = asked.groups()
            expected = plus(cells[known], STEPS[words])
        else:
            known, words = re.match(r"What is the (\w+) (\w+ of)\?$", question.question).groups()
            expected = plus(cells[known], STEPS[words], -1)
        assert cells[question.answer] == expected
        assert {known, question.answer} <= set(question.supporting_facts[0][:-1].split())


def test_the_path_leads_over_two_told_links(folder):
    answers = set()
    for story in stories_of("qa19", folder):
        (question,) = story.questions()
        start, end = re.findall(r"the (\w+)", question.question)
        cells = cells_of(question.facts)
        assert len(cells) == 6  # with five links: a tree
        here, place = cells[start], start
        for letter, fact in zip(question.answer.split(","), question.supporting_facts, strict=True):
            ends = link_of(fact)[::2]
            assert place in ends
            place = ends[ends[0] == place]
            step = next(step for words, step in STEPS.items() if words.startswith(letter))
            here = plus(here, step)
            assert here == cells[place]
        assert place == end
        answers.add(question.answer)
    assert answers == set(BABI_TASKS["qa19"].labels)


def test_outer_shapes_are_compared_over_the_middle_one(folder):
    level = 0
    for story in stories_of("qa17", folder):
        for question in story.questions():
            cells = cells_of(question.facts)
            assert len(cells) == len(set(cells.values())) == 3
            asked, words, other = re.match(
                rf"Is the (.+) ({'|'.join(STEPS)}) the (.+)\?$", question.question
            ).groups()
            step = STEPS[words]
            along = sum((cells[asked][i] - cells[other][i]) * step[i] for i in (0, 1))
            assert question.answer == ("yes" if along > 0 else "no")
            level += along == 0
            first, second = question.supporting_facts
            assert f"he {asked}" in first
            assert f"he {other}" in second
    assert level > 0


def test_everyone_fears_what_the_kind_fears(folder):
    singular = {"mice": "mouse", "wolves": "wolf", "sheep": "sheep", "cats": "cat"}
    for story in stories_of("qa15", folder):
        fears, kinds, lines = {}, {}, {}
        for line in story.lines:
            if line.is_question:
                name = re.match(r"What is (\w+) afraid of\?$", line.text)[1]
                kind = kinds[name]
                assert line.answer == fears[kind] != kind
                assert line.supporting == (lines[name], lines[kind])
            elif found := re.match(r"(\w+) are afraid of (\w+)\.$", line.text):
                kind = singular[found[1].lower()]
                fears[kind], lines[kind] = singular[found[2]], line.number
            else:
                name, kind = re.match(r"(\w+) is a (\w+)\.$", line.text).groups()
                assert kind in fears
                kinds[name.lower()], lines[name.lower()] = kind, line.number
        assert (len(fears), len(kinds)) == (4, 4)


def test_the_color_is_that_of_the_last_of_the_kind(folder):
    conflicts = 0
    for story in stories_of("qa16", folder):
        kinds, colors, lines = {}, {}, {}
        for line in story.lines[:-1]:
            if found := re.match(r"(\w+) is a (\w+)\.$", line.text):
                kinds[found[1]], lines[found[1], "kind"] = found[2], line.number
            else:
                name, color = re.match(r"(\w+) is (\w+)\.$", line.text).groups()
                assert name in kinds
                colors[name], lines[name, "color"] = color, line.number
        asked = re.match(r"What color is (\w+)\?$", story.lines[-1].text)[1]
        assert set(kinds) - set(colors) == {asked}
        peers = [name for name in kinds if kinds[name] == kinds[asked] and name != asked]
        assert len(peers) in (1, 3, 4)
        assert story.lines[-1].answer == colors[peers[-1]]
        assert story.lines[-1].supporting == (
            lines[asked, "kind"],
            lines[peers[-1], "kind"],
            lines[peers[-1], "color"],
        )
        conflicts += len({colors[peer] for peer in peers}) > 1
    assert conflicts / len(stories_of("qa16", folder)) == pytest.approx(0.075, abs=0.03)


def size_of(fact):
    """Returns the larger and the smaller thing."""
    if found := re.match(r"The (.+) is bigger than the (.+)\.$", fact):
        return found[1], found[2]
    return re.match(r"The (.+) fits inside the (.+)\.$", fact).groups()[::-1]


def test_sizes_follow_from_a_random_fact_and_the_first_other_about_one_of_its_things(folder):
    for story in stories_of("qa18", folder):
        for question in story.questions():
            if found := re.match(r"Is the (.+) bigger than the (.+)\?$", question.question):
                large, small = found.groups()
            else:
                small, large = re.match(
                    r"Does the (.+) fit in the (.+)\?$", question.question
                ).groups()
            near, far = map(size_of, question.supporting_facts)
            middle = (set(near) & set(far)).pop()
            assert large in near
            assert small in far
            is_yes = near == (large, middle) and far == (middle, small)
            is_no = near == (middle, large) and far == (small, middle)
            assert (is_yes, is_no) == (question.answer == "yes", question.answer == "no")
            others = [
                number
                for number, fact in zip(question.fact_numbers, question.facts, strict=True)
                if middle in size_of(fact) and number != question.supporting[0]
            ]
            assert others[0] == question.supporting[1]


def test_sizes_contradict_nothing(folder):
    smallest = ("chocolate", "box of chocolates")
    for story in stories_of("qa18", folder):
        pairs = {size_of(line.text) for line in story.lines if not line.is_question}
        assert all(small == "chocolate" for large, small in pairs if large in smallest)
        while pairs:  # nobody is larger than the largest
            tops = {large for large, _ in pairs} - {small for _, small in pairs}
            assert tops
            pairs = {(large, small) for large, small in pairs if large not in tops}


def test_facts_come_by_fives():
    lengths = Counter(
        sum(not line.is_question for line in story.lines) for story in stories_of("qa18")
    )
    assert all(length % 5 == 0 for length in lengths)
    assert lengths[5] / 400 == pytest.approx(0.78, abs=0.08)
    assert lengths[10] / 400 == pytest.approx(0.20, abs=0.08)


def test_moods_lead_to_places_and_things(folder):
    stories = stories_of("qa20", folder)
    for story in stories if folder is None else stories[:-1]:  # the last one is cut off
        moods, mood_lines, at_place, taken = {}, {}, set(), set()
        for line in story.lines:
            name, rest = line.text.split(" ", 1)
            if line.is_question:
                name = line.text.split()[2].lower()
                place, thing = REMEDIES[moods[name]]
                assert line.supporting == (mood_lines[name],)
                if line.text == f"Where will {name} go?":
                    assert line.answer == place
                else:
                    assert line.answer == moods[name]
                    assert line.text in (
                        f"Why did {name} go to the {place}?",
                        f"Why did {name} get the {thing}?",
                    )
                continue
            name = name.lower()
            if name not in moods:
                moods[name], mood_lines[name] = rest[3:-1], line.number
            elif name not in at_place:
                assert rest.endswith(f" to the {REMEDIES[moods[name]][0]}.")
                at_place.add(name)
            else:
                assert rest.endswith(f" the {REMEDIES[moods[name]][1]} there.")
                assert moods[name] not in taken
                taken.add(moods[name])
        assert len(moods) == len(at_place) == 4
        assert taken == set(moods.values())
        assert len(story.lines) == 2 * (8 + len(taken))
