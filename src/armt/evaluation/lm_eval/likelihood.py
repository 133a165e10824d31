"""Log-likelihoods of continuations whose context was read into a memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from armt.core.shapes import Float, Int, Tensor
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState


class Likelihood(NamedTuple):
    """How likely a continuation is."""

    log_prob: float
    """Natural logarithm of its probability."""

    is_greedy: bool
    """Whether every token of it is the most likely one."""


class Continuation(NamedTuple):
    """Tokens that follow one of several contexts."""

    context: int
    """Number of the context."""

    ids: Sequence[int]
    """The tokens."""


@torch.no_grad()
def continuation_likelihoods(
    model: Recurrent, contexts: Sequence[Sequence[int]], continuations: Sequence[Continuation]
) -> list[Likelihood]:
    """Returns the likelihood of each continuation.

    The contexts, of one length of at least one token, are read side by side and once, whatever the
    number of their continuations.
    """
    assert len({len(context) for context in contexts}) == 1, "contexts differ in length"
    ids = torch.tensor(contexts, device=model.device)
    state = model.init_state(len(contexts))
    if ids.shape[1] > 1:
        state = model.read(ids[:, :-1], state)
    found: list[Likelihood] = []
    for start in range(0, len(continuations), len(contexts)):
        part = continuations[start : start + len(contexts)]
        rows = torch.tensor([each.context for each in part])
        tokens = [each.ids for each in part]
        found += _after(model, state.select_rows(rows), ids[rows.to(ids.device), -1:], tokens)
    return found


@torch.no_grad()
def text_likelihood(model: Recurrent, first: int, ids: Sequence[int]) -> float:
    """Returns the log-probability of a whole text after the token `first`, in constant memory."""
    fed, wanted = torch.tensor([[first, *ids[:-1]]]), torch.tensor([ids])
    size = model.recurrence.segment_len
    state, total = model.init_state(1), 0.0
    for piece, targets in zip(fed.split(size, 1), wanted.split(size, 1), strict=True):
        if not targets.shape[1]:
            continue
        output: Any = model(input_ids=piece.to(model.device), state=state, logits_to_keep=0)
        log_probs = _log_probs(output.logits, targets.to(model.device))
        total, state = total + float(log_probs.sum()), output.state
    return total


def _after(
    model: Recurrent,
    state: RecurrentState,
    last: Int[Tensor, "B 1"],
    continuations: Sequence[Sequence[int]],
) -> list[Likelihood]:
    """Returns the likelihoods after a state and the context's last token, one for each row."""
    lengths = [len(ids) for ids in continuations]
    width = max(*lengths, 1)
    wanted = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, ids in enumerate(continuations):
        wanted[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    wanted = wanted.to(last.device)
    fed = torch.cat([last, wanted[:, :-1]], dim=1)
    # The padding stands behind the text, where a causal model cannot see it.
    mask = torch.arange(width) < torch.tensor(lengths).clamp_min(1).unsqueeze(1)
    output: Any = model(
        input_ids=fed, attention_mask=mask.to(last.device), state=state, logits_to_keep=0
    )
    log_probs, best = _log_probs(output.logits, wanted), output.logits.argmax(-1)
    return [
        Likelihood(
            float(log_probs[row, :length].sum()),
            bool((best[row, :length] == wanted[row, :length]).all()),
        )
        for row, length in enumerate(lengths)
    ]


def _log_probs(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    spread = logits.float().log_softmax(-1)
    return spread.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
