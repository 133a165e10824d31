"""What holds for the stories of the tasks about places, kinds, sizes and motives."""

import re
from functools import cache
from itertools import pairwise

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import format_stories, parse_stories
from tasks.babi.check_stories import check_by_oracle, real_stories
from tasks.babi.story_statistics import distance

NAMES = tuple(f"qa{number}" for number in (4, *range(10, 21)))
NUM_QUESTIONS = 3000
QUESTIONS = {"qa4": 1, "qa15": 4, "qa16": 1, "qa17": 8, "qa19": 1}  # five in the others
WITH_BLANK = ("qa10", "qa11", "qa12", "qa13", "qa14")  # at the end of the question

WORDS = {
    "Person": "Mary|John|Daniel|Sandra|Fred|Bill|Julie|Gertrude|Winona|Jessica|Emily|Lily|Bernhard"
    "|Greg|Julius|Brian|Jason|Antoine|Sumit|Yann",
    "Place": "bathroom|bedroom|garden|hallway|kitchen|office|cinema|park|school",
    "Thing": "box of chocolates|chocolate|chest|box|container|suitcase|apple|milk|football|pajamas"
    "|triangle|blue square|pink rectangle|red square|red sphere|yellow square",
    "Kind": "mouse|mice|wolf|wolves|sheep|cats?|swan|lion|frog|rhino",
    "Mood": "gray|white|yellow|green|hungry|thirsty|bored|tired",
}


@cache
def template(text):
    for placeholder, words in WORDS.items():
        text = re.sub(rf"\b({words})\b", placeholder, text, flags=re.IGNORECASE)
    return text


@cache
def own_stories(name, num_questions=NUM_QUESTIONS):
    count = num_questions // QUESTIONS.get(name, 5)
    return [BABI_TASKS[name].draw(Dice("stories", name, index)) for index in range(count)]


def templates(story):
    return [template(line.text) for line in story.lines]


def template_at_line(story):
    return [(line.number, template(line.text).split()[-2]) for line in story.lines]


def shape(story):
    return ["".join("?" if line.is_question else "." for line in story.lines)]


def facts_per_question(story):
    return [len(question.facts) for question in story.questions()]


def answers(story):
    return [question.answer for question in story.questions()]


def answers_by_question(story):
    return [(template(question.question), question.answer) for question in story.questions()]


def places_of_support(story):
    """How many facts before the question the first supporting one stands, the second ..."""
    return [
        (index, len(question.facts) - question.fact_numbers.index(number))
        for question in story.questions()
        for index, number in enumerate(question.supporting)
    ]


def same_beginnings(story):
    """Whether two facts in a row begin with the same word, which is mostly a name."""
    words = [line.text.split()[0] for line in story.lines if not line.is_question]
    return [before == after for before, after in pairwise(words)]


def repeated_questions(story):
    questions = [line.text for line in story.lines if line.is_question]
    return [len(questions) - len(set(questions))]


FEATURES = (
    templates,
    template_at_line,
    shape,
    facts_per_question,
    answers,
    answers_by_question,
    places_of_support,
    same_beginnings,
    repeated_questions,
)


@pytest.mark.parametrize("name", NAMES)
def test_the_text_alone_gives_answer_and_support(name):
    check_by_oracle(name, own_stories(name)[:100])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_text_alone_gives_answer_and_support_of_ten_thousand_questions(name):
    check_by_oracle(name, own_stories(name, 10_000))


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_numbered_and_the_last_one_asks(name):
    for story in own_stories(name):
        assert [line.number for line in story.lines] == list(range(1, len(story.lines) + 1))
        assert story.lines[-1].is_question
        end = "? " if name in WITH_BLANK else "?"
        assert all(line.text.endswith(end) for line in story.lines if line.is_question)
        assert all(line.text.endswith(".") for line in story.lines if not line.is_question)
        if name not in ("qa18", "qa20"):
            assert len(story.questions()) == QUESTIONS.get(name, 5)


@pytest.mark.parametrize("name", NAMES)
def test_questions_do_not_name_their_answer(name):
    labels = BABI_TASKS[name].labels
    for story in own_stories(name):
        for question in story.questions():
            assert question.answer in labels
            assert question.answer not in question.question


@pytest.mark.parametrize("name", NAMES)
def test_stories_survive_the_file_format(name):
    stories = own_stories(name)[:50]
    assert parse_stories(format_stories(stories)) == stories


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_a_story(name):
    draw = BABI_TASKS[name].draw
    assert draw(Dice(7, name)) == draw(Dice(7, name))
    assert len({draw(Dice(seed, name)) for seed in range(20)}) == 20


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feature", FEATURES)
def test_frequencies_are_those_of_the_real_data(shared_data, name, feature):
    found = distance(feature, own_stories(name), real_stories(shared_data, name))
    assert found.is_small, found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feature", FEATURES)
def test_frequencies_of_ten_thousand_questions(shared_data, name, feature):
    found = distance(feature, own_stories(name, 10_000), real_stories(shared_data, name))
    assert found.is_small, found


@pytest.mark.parametrize(
    ("own", "real", "feature"),
    [
        ("qa4", "qa19", templates),
        ("qa15", "qa16", template_at_line),
        ("qa12", "qa14", shape),
        ("qa14", "qa13", facts_per_question),
        ("qa17", "qa10", answers),
        ("qa18", "qa17", answers_by_question),
        ("qa13", "qa11", places_of_support),
        ("qa20", "qa12", same_beginnings),
        ("qa18", "qa17", repeated_questions),
    ],
)
def test_the_frequencies_tell_tasks_apart(shared_data, own, real, feature):
    assert not distance(feature, own_stories(own), real_stories(shared_data, real)).is_small
