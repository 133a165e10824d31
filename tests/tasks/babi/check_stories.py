"""The published stories, and the check that stories of every kind go through."""

from functools import cache

from armt.tasks.babi.format import read_stories
from armt.tasks.babi.oracle import answer_from

LAST_STORY_IS_CUT = ("qa18", "qa20")  # in the real files


@cache
def real_stories(folder, name):
    """The whole stories of an official training file."""
    stories = read_stories(next((folder / "babi" / "en").glob(f"{name}_*_train.txt")))
    return stories[:-1] if name in LAST_STORY_IS_CUT else stories


def check_by_oracle(name, stories):
    """The text alone gives answer and support of every question."""
    for story in stories:
        for question in story.questions():
            reading = answer_from(name, question.facts, question.question)
            assert reading.answer == question.answer, question
            support = tuple(question.fact_numbers[index] for index in reading.supporting)
            # Several pairs of facts may tell that one thing is larger than another.
            assert support == question.supporting or name == "qa18", question
