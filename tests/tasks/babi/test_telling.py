from collections import Counter

from armt.tasks.babi.dice import Dice
from armt.tasks.babi.telling import Asked, tell_in_pairs


def tell_counter(key, is_relevant, num_questions=5):
    """Tells 0, 1, 2, ... and asks about relevant numbers."""
    told = []

    def tell(writer):
        told.append(len(told))
        assert writer.tell(f"Number {told[-1]}.")
        return told[-1]

    def ask(number):
        if not is_relevant(number):
            return None
        return Asked(f"How many before {number}? ", str(len(told) - 1 - number), (1,))

    return tell_in_pairs(Dice("telling", key), tell, ask, num_questions=num_questions)


def test_a_question_follows_each_pair():
    story = tell_counter(0, lambda number: True)
    assert [line.is_question for line in story.lines] == [False, False, True] * 5


def test_each_of_the_last_five_facts_is_asked_about_as_often():
    found = Counter(
        question.answer
        for key in range(1000)
        for question in tell_counter(key, lambda number: True).questions()[2:]
    )
    assert set(found) == set("01234")
    assert all(abs(count - 600) < 4 * 600**0.5 for count in found.values()), found


def test_no_question_without_a_relevant_fact_among_the_last_five():
    story = tell_counter(0, lambda number: number % 20 == 10)
    counts = [len(question.facts) for question in story.questions()]
    assert counts == [12, 14, 32, 34, 52]
    assert [question.answer for question in story.questions()] == ["1", "3", "1", "3", "1"]
