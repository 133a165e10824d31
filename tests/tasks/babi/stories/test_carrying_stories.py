"""What holds for the stories of all tasks in which people walk about and carry objects."""

from functools import cache

import pytest

from armt.tasks.babi.catalogue import BABI_TASKS
from armt.tasks.babi.dice import Dice
from armt.tasks.babi.format import format_stories, parse_stories
from tasks.babi.check_stories import check_by_oracle, real_stories
from tasks.babi.story_statistics import STATISTICS, distance

NAMES = ("qa1", "qa2", "qa3", "qa5", "qa6", "qa7", "qa8", "qa9")
NUM_STORIES = 400


@cache
def own_stories(name, count=NUM_STORIES):
    return [BABI_TASKS[name].draw(Dice("stories", name, index)) for index in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_the_text_alone_gives_answer_and_support(name):
    check_by_oracle(name, own_stories(name)[:60])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_text_alone_gives_answer_and_support_of_ten_thousand_questions(name):
    check_by_oracle(name, own_stories(name, 2000))


@pytest.mark.parametrize("name", NAMES)
def test_a_story_is_pairs_of_facts_with_five_questions(name):
    for story in own_stories(name):
        assert [line.number for line in story.lines] == list(range(1, len(story.lines) + 1))
        questions = story.questions()
        assert len(questions) == 5
        assert story.lines[-1].is_question
        assert all(len(question.facts) % 2 == 0 for question in questions)
        assert all(line.text.endswith("? ") == line.is_question for line in story.lines)


@pytest.mark.parametrize("name", NAMES)
def test_questions_do_not_name_their_answer(name):
    labels = BABI_TASKS[name].labels
    for story in own_stories(name):
        for question in story.questions():
            answered = set(question.answer.split(","))
            assert answered <= set(labels)
            assert not any(label in question.question for label in answered)


@pytest.mark.parametrize("name", NAMES)
def test_stories_survive_the_file_format(name):
    stories = own_stories(name)[:50]
    assert parse_stories(format_stories(stories)) == stories


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_a_story(name):
    draw = BABI_TASKS[name].draw
    assert draw(Dice(7, name)) == draw(Dice(7, name))
    assert len(set(own_stories(name))) == NUM_STORIES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feature", STATISTICS)
def test_frequencies_are_those_of_the_real_data(shared_data, name, feature):
    found = distance(STATISTICS[feature], own_stories(name), real_stories(shared_data, name))
    assert found.is_small, found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feature", STATISTICS)
def test_frequencies_of_two_thousand_stories(shared_data, name, feature):
    found = distance(STATISTICS[feature], own_stories(name, 2000), real_stories(shared_data, name))
    assert found.is_small, found


@pytest.mark.parametrize(
    ("own", "real", "feature"),
    [
        ("qa2", "qa3", "templates"),
        ("qa6", "qa2", "facts_of_a_story"),
        ("qa9", "qa6", "answers"),
        ("qa7", "qa8", "num_supporting"),
        ("qa1", "qa2", "facts_since_support"),
        ("qa8", "qa2", "facts_between_questions"),
        ("qa7", "qa5", "pairs_of_actions"),
    ],
)
def test_the_frequencies_tell_tasks_apart(shared_data, own, real, feature):
    found = distance(STATISTICS[feature], own_stories(own), real_stories(shared_data, real))
    assert not found.is_small
