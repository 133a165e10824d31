"""Samples out of a text and a question, in tokens of one character."""

import numpy as np

from armt.tasks.contract import PlacedFact, Sample


def text_sample(text, question, answer, *, task="qa1", facts=(), index=0):
    """Returns a sample whose context is `text`, handed over in pieces of a few characters.

    `facts` are sentences of the text, each with whether it is supporting.
    """
    ids = np.array([ord(character) for character in text], dtype=np.int64)
    return Sample(
        task=task,
        length=len(text),
        index=index,
        context=lambda: (ids[start : start + 7] for start in range(0, len(ids), 7)),
        context_len=len(text),
        text=lambda: (text[start : start + 7] for start in range(0, len(text), 7)),
        question=question,
        question_ids=np.array([ord(character) for character in question]),
        answer=answer,
        answer_ids=np.array([ord(character) for character in answer]),
        facts=tuple(
            PlacedFact(fact, text.index(fact), len(fact), is_supporting)
            for fact, is_supporting in facts
        ),
    )
