"""How an answer is judged."""

from collections.abc import Sequence

import numpy as np

from armt.tasks.contract import Ids, TextEncoder


def decode_answer(encoder: TextEncoder, ids: Sequence[int] | Ids) -> str:
    """Returns the text of a generated answer, cut before its first end token and stripped."""
    tokens = np.asarray(ids, dtype=np.int64)
    ends = np.flatnonzero(tokens == encoder.end_id)
    return encoder.decode(tokens[: int(ends[0])] if len(ends) else tokens).strip()


def exact_match(prediction: str, answer: str) -> bool:
    """Says whether the prediction is the answer, white space around them aside."""
    return prediction.strip() == answer.strip()
