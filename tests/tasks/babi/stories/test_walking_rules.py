"""Tasks 10 to 14: what may be told and asked; own and published stories keep one rule."""

import re
from functools import cache
from itertools import pairwise

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import read_stories

TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
WHERE = r"Where is (\w+)\? $"
TOLD = (
    r"(?:(?:Then|Afterwards|After that|Following that) (?P<they>he|she|they)"
    r"|(?P<one>\w+)(?: and (?P<two>\w+))?) (?:went|journeyed|travelled|moved|went back) to the "
    r"(?P<place>\w+)\.$"
)


@cache
def stories_of(name, folder=None):
    if folder is not None:
        return read_stories(next((folder / "babi" / "en").glob(f"{name}_*_train.txt")))
    return [BABI_TASKS[name].draw(Dice("rules", name, index)) for index in range(300)]


@pytest.fixture(params=["own", "real"])
def folder(request):
    """The published stories are put under the same checks, so that the checks are right."""
    return None if request.param == "own" else request.getfixturevalue("shared_data")


def walk(story):
    """Yields each question with the people told of before, sentence by sentence."""
    place, told, support, people = {}, [], {}, []
    for line in story.lines:
        if line.is_question:
            yield line, list(told), dict(place), dict(support)
            continue
        found = re.match(TOLD, line.text)
        lines = (line.number - 1, line.number)
        if not found["they"]:
            people, lines = [each for each in (found["one"], found["two"]) if each], lines[1:]
        expected = "they" if len(people) > 1 else "she" if people[0] in ("Mary", "Sandra") else "he"
        assert found["they"] in (None, expected)
        for person in people:
            assert place.get(person) != found["place"], line
            place[person], support[person] = found["place"], lines
        told += people


@pytest.mark.parametrize("name", ["qa11", "qa12", "qa13"])
def test_questions_are_about_the_last_five_people_told_of(folder, name):
    for story in stories_of(name, folder):
        for line, told, place, support in walk(story):
            person = re.match(WHERE, line.text)[1]
            assert person in told[-5:]
            assert (line.answer, line.supporting) == (place[person], support[person])


@pytest.mark.parametrize(("name", "share"), [("qa11", 0.65), ("qa12", 0.70), ("qa13", 0.92)])
def test_most_questions_are_about_the_last_sentence(name, share):
    is_last = [
        line.number - 1 in support[re.match(WHERE, line.text)[1]]
        for story in stories_of(name)
        for line, _, _, support in walk(story)
    ]
    assert sum(is_last) / len(is_last) == pytest.approx(share, abs=0.03)


def test_two_possible_places_make_a_maybe(folder):
    answers, same = set(), 0
    for story in stories_of("qa10", folder):
        latest, mentions = {}, []
        for line in story.lines:
            if not line.is_question:
                person = line.text.split()[0]
                places = re.findall(r"the (\w+)", line.text)
                assert (len(places) == 2) == (" either " in line.text)
                known, _ = latest.get(person, ([], 0))
                assert places != known or len(known) == 2
                same += len(places) == 2 and places[0] == places[1]
                latest[person] = (places, line.number)
                mentions.append(person)
                continue
            person, place = re.match(r"Is (\w+) in the (\w+)\? $", line.text).groups()
            assert person in mentions[-5:]
            places, number = latest[person]
            assert line.supporting == (number,)
            sure = "yes" if len(places) == 1 else "maybe"
            assert line.answer == (sure if place in places else "no")
            answers.add(line.answer)
    assert answers == {"yes", "no", "maybe"}
    assert same > 0


def visit_of(text):
    time = re.search("|".join(TIMES), text.lower())[0]
    person, place = re.search(
        r"(?:^|\w )(\w+) (?:went|jo|tr|mo)\w* (?:back )?to the (\w+)", text
    ).groups()
    return person, TIMES.index(time), place


def test_visits_fill_the_times_in_order_and_change_the_place(folder):
    for story in stories_of("qa14", folder):
        visits = {}
        for line in story.lines:
            if line.is_question:
                for times in visits.values():
                    places = [times[time] for time in range(len(times))]  # no time is left out
                    assert all(a != b for a, b in pairwise(places))
                continue
            person, time, place = visit_of(line.text)
            assert time not in visits.setdefault(person, {})
            visits[person][time] = place


def test_the_answer_is_the_place_of_the_visit_before(folder):
    for story in stories_of("qa14", folder):
        for question in story.questions():
            person, place = re.match(
                r"Where was (\w+) before the (\w+)\? $", question.question
            ).groups()
            visits = [visit_of(fact) for fact in question.facts]
            own = {time: where for who, time, where in visits if who == person}
            time = max(time for time, where in own.items() if where == place)
            assert own[time - 1] == question.answer
            facts = [visit_of(fact) for fact in question.supporting_facts]
            assert facts == [(person, time, place), (person, time - 1, question.answer)]


def test_of_two_visits_between_questions_the_later_is_told_first(folder):
    num_pairs = 0
    for story in stories_of("qa14", folder):
        counts = [0, *(len(question.facts) for question in story.questions())]
        visits = [visit_of(line.text) for line in story.lines if not line.is_question]
        for start, end in pairwise(counts):
            if end - start == 2 and visits[start][0] == visits[start + 1][0]:
                assert visits[start][1] == visits[start + 1][1] + 1
                num_pairs += 1
    assert num_pairs > 100
