"""Samples made by hand, for subjects that are asked without a generator."""

import numpy as np

from armt.tasks.contract import PlacedFact, Sample

NOISE = (
    "The old house stood at the end of the lane.",
    "Nobody had lived there for years, and the garden had grown wild.",
    "In the evening the children came home by the river.",
)
FACTS = ("Mary went to the office.", "John moved to the kitchen.", "Mary moved to the hallway.")


def told_sample(index: int = 0, *, encode=None, **changes) -> Sample:
    """Returns a question about facts among a little prose; one token for each word by default."""
    encode = encode or (lambda text: [len(word) for word in text.split()])
    sentences = [FACTS[0], NOISE[0], FACTS[1], NOISE[1], FACTS[2], NOISE[2]]
    ids = [encode(" " + sentence) for sentence in sentences]
    starts = np.cumsum([0, *(len(piece) for piece in ids)])
    facts = tuple(
        PlacedFact(FACTS[at // 2], int(starts[at]), len(ids[at]), is_supporting=at == 4)
        for at in (0, 2, 4)
    )
    fields = {
        "task": "qa1",
        "length": 64,
        "index": index,
        "context": lambda: iter([np.asarray(piece) for piece in ids]),
        "context_len": int(starts[-1]),
        "text": lambda: iter([" " + sentence for sentence in sentences]),
        "question": "Where is Mary? ",
        "question_ids": np.asarray(encode("Where is Mary? ")),
        "answer": "hallway",
        "answer_ids": np.asarray(encode("hallway")),
        "facts": facts,
    }
    return Sample(**(fields | changes))
