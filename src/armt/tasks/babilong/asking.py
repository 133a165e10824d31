"""Several questions about one context: a text of a billion tokens is not read for one answer."""

from dataclasses import replace

from armt.core.errors import DataError
from armt.tasks.babilong.sample import spell_answer, spell_question
from armt.tasks.contract import PlacedFact, Sample, TextEncoder


def ask_for_everyone(
    sample: Sample, encoder: TextEncoder, num_read: int | None = None
) -> list[Sample]:
    """Returns a sample of task 1 as often as people move in it, with a question for each of them.

    The answers are the places that the facts, in the order of the context, name last. The sample's
    own question is the first.

    Args:
        sample: a sample of task 1.
        encoder: spells questions and answers.
        num_read: tokens of the context read so far: only facts that were told by then count, and
            nobody else is asked for. None for the whole context.

    Raises:
        DataError: the sample is of another task, whose questions no single fact answers.
    """
    if sample.task.partition("@")[0] != "qa1":
        raise DataError(f"Only people of task qa1 can all be asked for. Got task {sample.task}.")
    end = sample.context_len if num_read is None else num_read
    places: dict[str, str] = {}
    for fact in sorted(sample.facts, key=lambda each: each.start):
        if fact.start + fact.length <= end:
            places[question_about(fact)] = fact.text.rstrip(".").split()[-1]
    asked = sorted(places, key=lambda question: question != sample.question)
    return [_with_question(sample, encoder, question, places[question]) for question in asked]


def question_about(fact: PlacedFact) -> str:
    """Returns the question that a fact of task 1 answers."""
    return f"Where is {fact.text.split(maxsplit=1)[0]}? "


def _with_question(sample: Sample, encoder: TextEncoder, question: str, answer: str) -> Sample:
    return replace(
        sample,
        question=question,
        question_ids=spell_question(encoder, question),
        answer=answer,
        answer_ids=spell_answer(encoder, answer),
    )
