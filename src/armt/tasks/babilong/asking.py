"""Several questions about one context: a text of a billion tokens is not read for one answer."""

from dataclasses import replace

import numpy as np

from armt.core.errors import DataError
from armt.tasks.contract import Sample, TextEncoder


def ask_for_everyone(sample: Sample, encoder: TextEncoder) -> list[Sample]:
    """Returns a sample of task 1 as often as people move in it, with a question for each of them.

    The answers are the places that the facts, in the order of the context, name last. The sample's
    own question is the first.

    Raises:
        DataError: the sample is of another task, whose questions no single fact answers.
    """
    if sample.task.partition("@")[0] != "qa1":
        raise DataError(f"Only people of task qa1 can all be asked for. Got task {sample.task}.")
    places: dict[str, str] = {}
    for fact in sorted(sample.facts, key=lambda each: each.start):
        person, *_, place = fact.text.rstrip(".").split()
        places[person] = place
    others = [(f"Where is {person}? ", place) for person, place in places.items()]
    return [
        sample,
        *(
            replace(
                sample,
                question=question,
                question_ids=_ids([*encoder.encode(question), encoder.gen_id]),
                answer=place,
                answer_ids=_ids([*encoder.encode(place), encoder.end_id]),
            )
            for question, place in others
            if question != sample.question
        ),
    ]


def _ids(ids: list[int]) -> np.ndarray:
    return np.asarray(ids, dtype=np.int64)
