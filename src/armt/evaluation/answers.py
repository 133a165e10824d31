"""Lets a recurrent model read samples side by side and answer their questions."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from armt.backbones.modes import evaluation_mode
from armt.core.errors import DataError
from armt.core.shapes import Int, Tensor
from armt.evaluation.subject import Arm
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.tasks.contract import Ids, Sample

_SEGMENTS_AT_ONCE = 32


def answer_samples(
    model: Recurrent,
    samples: Sequence[Sample],
    *,
    arms: Sequence[Arm] = ("on", "off"),
    end_id: int,
    max_answer_len: int = 10,
) -> dict[Arm, list[list[int]]]:
    """Returns the answer of each sample as tokens without the end token, for each arm.

    All contexts must be of one length; they are read side by side, as rows of a batch, and never
    held as a whole. Each sample starts from an empty memory. Answers are greedy. With memory `off`
    the question comes to a model that still has the tokens of the unfinished segment, and nothing
    of the segments before.

    Raises:
        DataError: the contexts differ in length.
    """
    lengths = {sample.context_len for sample in samples}
    if len(lengths) != 1:
        raise DataError(f"Contexts read side by side need one length. Got {sorted(lengths)}.")
    with evaluating(model):
        contexts = [sample.context() for sample in samples]
        # one reading: while the device is at one stretch, the host prepares the next
        texts = stretches(contexts, model.recurrence.segment_len)
        state = model.read(texts, model.init_state(len(samples)))
        return answer_after(
            model, samples, state, arms=arms, end_id=end_id, max_answer_len=max_answer_len
        )


def answer_after(
    model: Recurrent,
    samples: Sequence[Sample],
    state: RecurrentState,
    *,
    arms: Sequence[Arm] = ("on", "off"),
    end_id: int,
    max_answer_len: int = 10,
) -> dict[Arm, list[list[int]]]:
    """Returns the answers to the samples' questions after their contexts were read to `state`."""
    found: dict[Arm, list[list[int]]] = {}
    with evaluating(model):
        for arm in arms:
            start = forget(model, state) if arm == "off" else state
            found[arm] = _answer(model, samples, start, end_id, max_answer_len)
    return found


def forget(model: Recurrent, state: RecurrentState) -> RecurrentState:
    """Returns the same place in the text with an empty memory."""
    return state.with_layers(model.memory.init_states(state.batch_size))


def stretches(contexts: Sequence[Iterator[Ids]], segment_len: int) -> Iterator[Int[Tensor, "B T"]]:
    """Yields texts of one length as rows of one batch, whole segments at a time but at the end.

    Args:
        contexts: the texts, each in pieces of any size.
        segment_len: tokens of a segment.
    """
    size = _SEGMENTS_AT_ONCE * segment_len
    rows = zip(*(_even_pieces(context, size) for context in contexts), strict=True)
    return (torch.from_numpy(np.stack(pieces)) for pieces in rows)


def _even_pieces(pieces: Iterator[Ids], size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yields the same tokens in pieces of `size`, the last one shorter."""
    held: list[Ids] = []
    num_held = 0
    for piece in pieces:
        held.append(piece)
        num_held += len(piece)
        while num_held >= size:
            joined = np.concatenate(held)
            yield joined[:size].astype(np.int64)
            held = [joined[size:]]
            num_held -= size
    if num_held:
        yield np.concatenate(held).astype(np.int64)


def _answer(
    model: Recurrent,
    samples: Sequence[Sample],
    state: RecurrentState,
    end_id: int,
    max_answer_len: int,
) -> list[list[int]]:
    width = max(len(sample.question_ids) for sample in samples)
    prompt = torch.full((len(samples), width), end_id)
    mask = torch.zeros_like(prompt)
    for row, sample in enumerate(samples):
        prompt[row, width - len(sample.question_ids) :] = torch.as_tensor(sample.question_ids)
        mask[row, width - len(sample.question_ids) :] = 1
    output = model.generate(
        prompt.to(model.device),
        attention_mask=mask.to(model.device),
        state=state,
        do_sample=False,
        max_new_tokens=max_answer_len,
        eos_token_id=end_id,
        pad_token_id=end_id,
    )
    answers = cast("list[list[int]]", output[:, width:].tolist())
    return [answer[: answer.index(end_id)] if end_id in answer else answer for answer in answers]


@contextmanager
def evaluating(model: PreTrainedModel) -> Generator[None]:
    """Evaluation mode, and half precision on a GPU; the mode before comes back at the end."""
    half = model.device.type == "cuda" and model.dtype == torch.float32
    with evaluation_mode(model), torch.autocast("cuda", torch.bfloat16) if half else nullcontext():
        yield
