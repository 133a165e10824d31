"""The check that stories of every kind go through."""

from armt.tasks.babi.oracle import answer_from


def check_by_oracle(name, stories):
    """The text alone gives answer and support of every question."""
    for story in stories:
        for question in story.questions():
            reading = answer_from(name, question.facts, question.question)
            assert reading.answer == question.answer, question
            support = tuple(question.fact_numbers[index] for index in reading.supporting)
            # Several pairs of facts may tell that one thing is larger than another.
            assert support == question.supporting or name == "qa18", question
