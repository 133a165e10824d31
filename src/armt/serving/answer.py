"""Answers from a state that was read before."""

from typing import Any, cast

import torch

from armt.core.errors import StateError
from armt.recurrence.state import RecurrentState
from armt.serving.boxed_model import BoxedModel


def answer_question(boxed: BoxedModel, state: RecurrentState, question: str) -> str:
    """Returns the model's most likely answer; `state` stays as it is.

    Raises:
        DataError: the question is empty.
        StateError: the state is of several texts.
    """
    if state.batch_size != 1:
        raise StateError(f"The state is of {state.batch_size} texts. Give a state of one.")
    prompt = torch.tensor([boxed.encode_question(question)], device=boxed.model.device)
    end_id = boxed.encoder.end_id
    output: Any = boxed.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        state=state,
        do_sample=False,
        max_new_tokens=boxed.form.max_answer_len,
        eos_token_id=end_id,
        pad_token_id=end_id,
    )
    ids = cast("list[int]", output[0, prompt.shape[1] :].tolist())
    answer = ids[: ids.index(end_id)] if end_id in ids else ids
    return boxed.encoder.decode(answer).strip()
