"""Which question may be asked when, and what it means: own and published stories keep one rule."""

import re
from functools import cache

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from tasks.babi.check_stories import real_stories

PERSON = r"(?P<actor>\w+) "
MOVE = PERSON + r"(went|journeyed|travelled|moved|went back) to the (?P<place>\w+)\.$"
HANDLE = PERSON + r"(?!(went|journeyed|travelled|moved) ).* the (?P<thing>\w+)( there| to \w+)?\.$"
GIVE = PERSON + r"(gave|passed|handed) the (?P<thing>\w+) to (?P<receiver>\w+)\.$"
ANY = PERSON + ".*"

# Task -> what a fact must look like to be asked about, and what of it the question must name.
ASKED_ABOUT = {
    "qa1": (MOVE, "actor"),
    "qa5": (GIVE, "thing"),
    "qa6": (MOVE, "actor"),
    "qa7": (HANDLE, "actor"),
    "qa8": (HANDLE, "actor"),
    "qa9": (ANY, "actor"),
}
NAMES = sorted(ASKED_ABOUT)


@cache
def own_stories(name):
    return [BABI_TASKS[name].draw(Dice("rules", name, index)) for index in range(200)]


def subjects(name, facts):
    """Returns what the last five facts allow to ask about."""
    pattern, group = ASKED_ABOUT[name]
    return {found[group] for fact in facts[-5:] if (found := re.match(pattern, fact))}


def check_gaps(name, story):
    """Up to the fifth question, each gap that allows one has one and no other."""
    facts, num_questions = [], 0
    for line, following in zip(story.lines, [*story.lines[1:], None], strict=True):
        if line.is_question:
            num_questions += 1
            continue
        facts.append(line.text)
        if len(facts) % 2 == 0 and num_questions < 5:
            is_asked = following is not None and following.is_question
            assert is_asked == bool(subjects(name, facts)), facts


def check_subjects(name, story):
    for question in story.questions():
        asked = set(re.findall(r"\w+", question.question)) | {question.answer}
        assert asked & subjects(name, question.facts), question


@pytest.mark.parametrize("name", NAMES)
def test_a_gap_has_a_question_exactly_if_the_last_five_facts_allow_one(name):
    for story in own_stories(name):
        check_gaps(name, story)
        check_subjects(name, story)


@pytest.mark.parametrize("name", NAMES)
def test_so_it_is_in_the_real_data(shared_data, name):
    for story in real_stories(shared_data, name):
        check_gaps(name, story)
        check_subjects(name, story)


def check_objects(name, stories):
    """The get or drop meant is among the last five facts, and the latest of its object."""
    for story in stories:
        for question in story.questions():
            handled = question.supporting_facts[0]
            thing = re.match(HANDLE, handled)["thing"]
            assert f"the {thing}" in question.question
            age = len(question.facts) - question.fact_numbers.index(question.supporting[0])
            assert age <= 5
            assert not any(f"the {thing}" in fact for fact in question.facts[-age:][1:])


@pytest.mark.parametrize("name", ["qa2", "qa3"])
def test_objects_asked_for_were_got_or_dropped_lately(name):
    check_objects(name, own_stories(name))


@pytest.mark.parametrize("name", ["qa2", "qa3"])
def test_so_they_were_in_the_real_data(shared_data, name):
    check_objects(name, real_stories(shared_data, name))


def test_nobody_is_told_to_move_to_where_he_is():
    for name in ("qa1", "qa2", "qa3", "qa5", "qa6", "qa7", "qa8"):
        for story in own_stories(name):
            place = {}
            for line in story.lines:
                if found := re.match(MOVE, line.text):
                    assert place.get(found["actor"]) != found["place"]
                    place[found["actor"]] = found["place"]


def test_a_negation_names_the_known_place_and_hides_the_next():
    negations = 0
    for story in own_stories("qa9"):
        known, left = {}, {}
        for line in story.lines:
            person, rest = line.text.split(" ", 1)
            place = line.text.rstrip(".? ").split()[-1]
            if line.is_question:
                person = line.text.split()[1]
                if person in left:
                    assert (place, line.answer) == (left[person], "no")
                else:
                    assert line.answer == ("yes" if place == known[person] else "no")
            elif rest.startswith(("is not", "is no longer")):
                negations += 1
                assert known.pop(person, place) == place != left.get(person)
                left[person] = place
            else:
                assert known.get(person) != place
                known[person] = place
                left.pop(person, None)
    assert negations > 300


def test_all_counts_and_lists_occur():
    counts = {q.answer for story in own_stories("qa7") for q in story.questions()}
    assert counts >= {"none", "one", "two"}
    lengths = {len(q.answer.split(",")) for story in own_stories("qa8") for q in story.questions()}
    assert lengths >= {1, 2}
