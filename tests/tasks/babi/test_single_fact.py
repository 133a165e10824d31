from collections import Counter

import numpy as np
import pytest

from armt.tasks.babi.format import format_stories, parse_stories, read_stories
from armt.tasks.babi.single_fact import draw_single_fact_story
from tasks.rule_reader import latest_place


@pytest.fixture(scope="module")
def many_stories():
    return draw_stories(3000)


def draw_stories(count):
    return [draw_single_fact_story(np.random.default_rng([7, index])) for index in range(count)]


def check_answers(stories):
    for story in stories:
        for question in story.questions():
            answer, index = latest_place(list(question.facts), question.question)
            assert question.answer == answer
            assert question.supporting == (question.fact_numbers[index],)


def chi_square(own, real):
    """Distance of two histograms, and its degrees of freedom."""
    kinds = sorted(set(own) | set(real))
    num_own, num_real = own.total(), real.total()
    terms = [
        (own[kind] * (num_real / num_own) ** 0.5 - real[kind] * (num_own / num_real) ** 0.5) ** 2
        / (own[kind] + real[kind])
        for kind in kinds
    ]
    return sum(terms), len(kinds) - 1


def histograms(stories):
    verbs, answers, recency = Counter(), Counter(), Counter()
    for story in stories:
        for question in story.questions():
            answers[question.answer] += 1
            order = list(dict.fromkeys(fact.split()[0] for fact in reversed(question.facts)))
            person = question.question.split()[2].rstrip("?")
            recency[len(order), order.index(person)] += 1
        verbs.update(fact.split(" to the ")[0].split(" ", 1)[1] for fact in question.facts)
    return verbs, answers, recency


def test_shape_of_a_story():
    for story in draw_stories(50):
        assert [line.is_question for line in story.lines] == [False, False, True] * 5
        assert [line.number for line in story.lines] == list(range(1, 16))
        assert all(line.text.endswith("? ") == line.is_question for line in story.lines)


def test_answers_follow_from_the_text(many_stories):
    check_answers(many_stories[:2000])


def test_stories_survive_the_file_format():
    stories = draw_stories(20)
    assert parse_stories(format_stories(stories)) == stories


def test_a_seed_is_a_story():
    assert draw_stories(5) == draw_stories(5)
    assert len(set(draw_stories(50))) == 50


def test_the_rules_answer_the_real_questions(shared_data):
    stories = read_stories(shared_data / "babi" / "en" / "qa1_single-supporting-fact_train.txt")
    assert len(stories) == 200
    check_answers(stories)


def test_frequencies_are_those_of_the_real_data(shared_data, many_stories):
    real = read_stories(shared_data / "babi" / "en" / "qa1_single-supporting-fact_train.txt")
    pairs = zip(histograms(many_stories), histograms(real), strict=True)
    for own_counts, real_counts in pairs:
        distance, degrees = chi_square(own_counts, real_counts)
        assert distance < degrees + 3.5 * (2 * degrees) ** 0.5, (own_counts, real_counts)
