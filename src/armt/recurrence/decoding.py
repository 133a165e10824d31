"""Token-by-token continuation for transformers' `generate`.

Rows whose segments are filled alike are decoded together; each such group has the ordinary
cache of its unfinished segment, which is dropped when the segment is written.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import Cache, DynamicCache

from armt.core.errors import ArmtError, DataError
from armt.core.shapes import Float, Int, Tensor
from armt.recurrence.segmenter import pack
from armt.recurrence.state import RecurrentState

if TYPE_CHECKING:
    from armt.recurrence.model import Recurrent


@dataclass
class Group:
    """Rows of a batch that stand at the same place of their segment."""

    rows: Int[Tensor, " N"]
    """Their numbers in the batch; on the CPU."""

    state: RecurrentState
    """Their states; the tokens of the unfinished segment are pending."""

    cache: Any
    """What the backbone keeps of the pending tokens: keys and values, or states of its own."""

    def reorder(self, sources: dict[int, int]) -> None:
        """Makes each row a copy of the row that `sources` names for it.

        Only rows of one prompt replace each other, so they stand at the same place.
        """
        place = {int(row): index for index, row in enumerate(self.rows)}
        order = torch.tensor([place[sources[int(row)]] for row in self.rows])
        self.state = self.state.select_rows(order)
        self.cache.reorder_cache(order.to(self.state.pending.device))


class RecurrentCache(Cache):
    """Takes the place of transformers' cache during `generate` and carries the recurrent state."""

    def __init__(self, state: RecurrentState) -> None:
        """Starts from `state`; the prompt is still to come."""
        super().__init__(layers=[])
        self.start = state
        self.groups: list[Group] = []
        self._num_seen = 0

    @property
    def state(self) -> RecurrentState:
        """The state after all tokens fed so far, rows in the order of the batch.

        Raises:
            ArmtError: the rows end at different places of their segments; ask each for itself.
        """
        if not self.groups:
            return self.start
        if len(self.groups) > 1:
            raise ArmtError(
                "Rows of different length have no common state. Generate from them one by one, or "
                "take `groups`."
            )
        return self.groups[0].state

    def feed(self, num_tokens: int) -> None:
        """Counts the columns of the batch that were fed."""
        self._num_seen += num_tokens

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns the columns fed since `generate` began."""
        del layer_idx
        return self._num_seen

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Lets each beam go on from the beam it was chosen from."""
        sources = {row: int(source) for row, source in enumerate(beam_idx.tolist())}
        for group in self.groups:
            group.reorder(sources)

    def crop(self, tokens_to_remove: int) -> None:
        """Refuses: what a memory has read cannot be taken back."""
        raise ArmtError(
            f"A recurrent memory cannot take back {tokens_to_remove} tokens. Use greedy search, "
            "sampling or beams instead of assisted decoding."
        )


def decode(
    model: "Recurrent",
    input_ids: Int[Tensor, "B T"],
    attention_mask: Tensor | None,
    cache: RecurrentCache,
) -> Float[Tensor, "B 1 V"]:
    """Feeds the prompt or the next token of every row; returns the logits that follow."""
    if not cache.groups:
        mask = None if attention_mask is None else attention_mask[:, : input_ids.shape[1]]
        logits = _prefill(model, input_ids, mask, cache)
    else:
        parts = [(group.rows, _step(model, group, input_ids)) for group in cache.groups]
        logits = torch.cat([part for _, part in parts])
        order = torch.cat([rows for rows, _ in parts]).argsort()
        logits = logits[order.to(logits.device)]
    cache.feed(input_ids.shape[1])
    return logits


def _prefill(
    model: "Recurrent",
    input_ids: Int[Tensor, "B T"],
    attention_mask: Tensor | None,
    cache: RecurrentCache,
) -> Float[Tensor, "B 1 V"]:
    """Reads the prompt row group by row group and leaves each in its unfinished segment."""
    state = _for_beams(cache.start, len(input_ids))
    packed = pack(state, input_ids, attention_mask)
    if not bool(packed.lengths.all()):
        raise DataError("A row of the prompt is all padding. Give each row at least one token.")
    logits: dict[int, Float[Tensor, "1 V"]] = {}
    for length in packed.lengths.unique().tolist():
        rows = (packed.lengths == length).nonzero()[:, 0]
        ids = packed.ids[rows.to(packed.ids.device), :length]
        old = state.select_rows(rows)
        group = Group(rows, _emptied(old, ids), _new_cache(model))
        # What is fed again here as part of the text was counted when it became pending.
        found = _feed(model, group, ids)
        cache.groups.append(group)
        logits |= dict(zip(rows.tolist(), found, strict=True))
    return torch.stack([logits[row] for row in range(len(input_ids))])


def _for_beams(state: RecurrentState, num_rows: int) -> RecurrentState:
    """Repeats each row of the state for the beams or samples that start from it."""
    if num_rows % state.batch_size:
        raise ArmtError(
            f"The prompt has {num_rows} rows, the state {state.batch_size}. Give one prompt for "
            "each row of the state."
        )
    return state.select_rows(
        torch.arange(state.batch_size).repeat_interleave(num_rows // state.batch_size)
    )


def _emptied(state: RecurrentState, ids: Int[Tensor, "N T"]) -> RecurrentState:
    emptied = state.without_pending()
    return RecurrentState(
        layers=emptied.layers,
        pending=emptied.pending.to(ids.device),
        num_pending=emptied.num_pending,
        num_tokens=emptied.num_tokens,
    )


def _step(
    model: "Recurrent", group: Group, input_ids: Int[Tensor, "B T"]
) -> Float[Tensor, "N 1 V"]:
    return _feed(model, group, input_ids[group.rows.to(input_ids.device)])


def _feed(model: "Recurrent", group: Group, ids: Int[Tensor, "N T"]) -> Float[Tensor, "N 1 V"]:
    """Feeds the next tokens of a group, ending segments as they fill."""
    segment_len, schedule = model.recurrence.segment_len, model.schedule(may_compile=False)
    logits: Tensor | None = None
    while ids.shape[1]:
        num_old = int(group.state.num_pending[0])
        part, ids = ids.split([n := min(segment_len - num_old, ids.shape[1]), ids.shape[1] - n], 1)
        packed = pack(group.state, part)
        last = torch.tensor([n - 1], device=part.device)
        result = schedule.run(
            part,
            group.state.layers,
            is_whole=False,
            logits_at=last,
            cache=group.cache,
            num_before=num_old,
        )
        logits = result.logits
        layers = group.state.layers
        if num_old + n == segment_len:
            layers = _end_segment(model, group, packed.ids)
            group.cache = _new_cache(model)
        group.state = RecurrentState(layers=layers, **packed.remainder(group.state, segment_len))
    assert logits is not None, "a group was fed no tokens"
    return logits


def _end_segment(model: "Recurrent", group: Group, ids: Int[Tensor, "N L"]) -> Any:
    """Writes the memories: through its tokens after the cached text, or from the text anew."""
    schedule = model.schedule()
    if model.memory.visit().suffix_len:
        return schedule.end_segment(ids, group.state.layers, group.cache)
    return schedule.run(ids, group.state.layers, is_whole=True).states


def _new_cache(model: "Recurrent") -> DynamicCache:
    return DynamicCache(config=model.config)
