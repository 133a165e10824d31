"""Token-by-token continuation for transformers' `generate`.

Rows whose segments are filled alike are decoded together; each such group has the cache of its
unfinished segment, which is dropped when the segment is written. Where the model allows it, a group
runs in a loop over fixed places, whose steps a GPU repeats as graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, final

import torch
from torch.nn import functional
from transformers import Cache, DynamicCache, StoppingCriteria, StoppingCriteriaList

from armt.core.errors import ArmtError, DataError
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.choose_schedule import choose_decode_loops
from armt.recurrence.decode_loop import DecodeLoop, DecodeLoops
from armt.recurrence.pieces import check_vocabulary
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
    """What the backbone keeps of the pending tokens: keys and values, or states of its own. None
    once the loop that it belonged to was given back."""

    loop: DecodeLoop | None = None
    """What decodes the rows over fixed places; none to decode operation by operation."""

    ended: dict[int, RecurrentState] = field(default_factory=dict)
    """By its place in the group, what a row had read that ended before others: what the group is
    fed for it from then on, to keep its shape, is no text."""

    @classmethod
    def start(
        cls,
        model: "Recurrent",
        rows: Int[Tensor, " N"],
        state: RecurrentState,
        loops: DecodeLoops | None,
    ) -> "Group":
        """Returns rows at the start of a segment, in a loop if there are some for this model."""
        if loops is None:
            return cls(rows, state, _new_cache(model))
        loop = loops.take(model, state.layers, state.pending)
        return cls(rows, state, loop.cache, loop)

    def seek(self, position: int) -> None:
        """Says where the next pass begins; only places that are fixed need to be told."""
        if self.loop is not None:
            self.loop.cache.seek(position)

    def restart(self, model: "Recurrent", layers: tuple[State, ...]) -> None:
        """Empties the cache for the next segment, which starts from the layers' states."""
        if self.loop is None:
            self.cache = _new_cache(model)
        else:
            self.loop.begin(layers)

    def reorder(self, sources: dict[int, int]) -> None:
        """Makes each row a copy of the row that `sources` names for it.

        Only rows of one prompt replace each other, so they stand at the same place.
        """
        place = {int(row): index for index, row in enumerate(self.rows)}
        order = torch.tensor([place[sources[int(row)]] for row in self.rows])
        self.state = self.state.select_rows(order)
        self.cache.reorder_cache(order.to(self.state.pending.device))
        if self.loop is not None:
            self.loop.put(self.state.layers)

    def keep(self, is_ended: Bool[Tensor, " B"]) -> None:
        """Keeps the states of rows that have ended, before the group is fed anything more."""
        for place in is_ended[self.rows].nonzero()[:, 0].tolist():
            if place not in self.ended:
                self.ended[place] = self.state.select_rows(torch.tensor([place]))

    def release(self, loops: DecodeLoops | None) -> None:
        """Leaves in each row's state what is its own, when there is nothing more to decode.

        The loop is given back; what it keeps of the pending tokens is found anew if need be.
        """
        for place, state in self.ended.items():
            self.state = _with_row(self.state, place, state)
        if self.loop is not None and loops is not None:
            loops.give_back(self.loop)
            self.loop, self.cache = None, None


class RecurrentCache(Cache):
    """Takes the place of transformers' cache during `generate` and carries the recurrent state."""

    def __init__(self, state: RecurrentState) -> None:
        """Starts from `state`; the prompt is still to come."""
        super().__init__(layers=[])
        self.start = state
        self.groups: list[Group] = []
        self.loops: DecodeLoops | None = None
        self._num_seen = 0
        self._is_ended: Bool[Tensor, " B"] | None = None
        self._has_beams = False

    @property
    def state(self) -> RecurrentState:
        """The state after all tokens fed so far, rows in the order of the batch.

        Once `generate` is through, a row that ended before others has the state at its own end.

        Raises:
            ArmtError: the rows began at different places of their segments, so that each has to be
                asked for itself; or the text was searched for with beams, which are no rows.
        """
        if not self.groups:
            return self.start
        if self._has_beams:
            raise ArmtError(
                "A text that was searched for with beams comes without its state. Read it: give "
                "the sequence without its last token to the model, with the `state` that "
                "`generate` got."
            )
        if len(self.groups) > 1:
            raise ArmtError(
                "Rows of different length have no common state. Generate from them one by one, or "
                "take `groups`."
            )
        return self.groups[0].state

    def release(self) -> None:
        """Leaves the fixed places to the next texts, and in each row's state what is its own."""
        for group in self.groups:
            group.release(self.loops)

    def note_ended(self, is_ended: Bool[Tensor, " R"]) -> None:
        """Notes which rows have ended with their newest token, which is not fed yet."""
        if len(is_ended) != sum(len(group.rows) for group in self.groups):
            self._has_beams = True  # of each beam more than one way to go on is looked at
            return
        is_ended = is_ended.cpu()
        self._is_ended = is_ended if self._is_ended is None else self._is_ended | is_ended

    def begin_feeding(self) -> None:
        """Keeps the states of rows that have ended, if others go on.

        Raises:
            ArmtError: all have, and not at once, so that they cannot go on together.
        """
        if self._is_ended is None or self._has_beams:
            return
        if not bool(self._is_ended.all()):
            for group in self.groups:
                group.keep(self._is_ended)
        elif any(group.ended for group in self.groups):
            raise ArmtError("Rows of this batch ended one before the other. Go on from `state`.")

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


@final
class RowWatch(StoppingCriteria):
    """Tells a cache which rows end; ends none itself."""

    def __init__(self, cache: RecurrentCache) -> None:
        """Watches the rows of a cache, once it is among the criteria of `watched`."""
        self.cache = cache

    def __call__(self, input_ids: Int[Tensor, "R T"], scores: Any, **options: Any) -> Any:
        """Returns that no row ends."""
        del scores, options
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@final
class _Watched(StoppingCriteriaList):
    """Criteria whose verdict a cache is told."""

    def __call__(self, input_ids: Int[Tensor, "R T"], scores: Any, **options: Any) -> Any:
        is_ended = cast("Any", super()).__call__(input_ids, scores, **options)
        for criterion in self:
            if isinstance(criterion, RowWatch):
                criterion.cache.note_ended(is_ended)
        return is_ended


def watched(criteria: Sequence[StoppingCriteria]) -> StoppingCriteriaList:
    """Returns all criteria of a generation, which tell the `RowWatch` among them what they found.

    So whatever ends a row is known: an end token, a string, or a criterion of the user's.
    """
    return _Watched(criteria)


def decode(
    model: "Recurrent",
    input_ids: Int[Tensor, "B T"],
    attention_mask: Tensor | None,
    cache: RecurrentCache,
) -> Float[Tensor, "B 1 V"]:
    """Feeds the prompt or the next token of every row; returns the logits that follow."""
    cache.begin_feeding()
    if not cache.groups:
        mask = None if attention_mask is None else attention_mask[:, : input_ids.shape[1]]
        logits = _prefill(model, input_ids, mask, cache)
    elif len(cache.groups) == 1:  # all rows, in their order
        logits = _feed(model, cache.groups[0], input_ids)
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
    check_vocabulary(model, packed.ids)
    if not bool(packed.lengths.all()):
        raise DataError("A row of the prompt is all padding. Give each row at least one token.")
    cache.loops = choose_decode_loops(model)
    logits: dict[int, Float[Tensor, "1 V"]] = {}
    for length in packed.lengths.unique().tolist():
        rows = (packed.lengths == length).nonzero()[:, 0]
        ids = packed.ids[rows.to(packed.ids.device), :length]
        old = state.select_rows(rows)
        group = Group.start(model, rows, _emptied(old, ids), cache.loops)
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


def _with_row(state: RecurrentState, place: int, row: RecurrentState) -> RecurrentState:
    """Returns a state with another row at a place; the pending tokens may differ in number."""
    rows, width = torch.tensor([place]), max(state.pending.shape[1], row.pending.shape[1])
    old, new = (
        functional.pad(each.pending, (0, width - each.pending.shape[1])) for each in (state, row)
    )
    pairs = zip(row.layers, state.layers, strict=True)
    num_pending = state.num_pending.index_copy(0, rows, row.num_pending)
    pending = old.index_copy(0, rows.to(old.device), new)
    return RecurrentState(
        layers=tuple(layer.scatter_rows(rows, base) for layer, base in pairs),
        pending=pending[:, : int(num_pending.max())],
        num_pending=num_pending,
        num_tokens=state.num_tokens.index_copy(0, rows, row.num_tokens),
    )


def _step(
    model: "Recurrent", group: Group, input_ids: Int[Tensor, "B T"]
) -> Float[Tensor, "N 1 V"]:
    return _feed(model, group, input_ids[group.rows.to(input_ids.device)])


def _feed(model: "Recurrent", group: Group, ids: Int[Tensor, "N T"]) -> Float[Tensor, "N 1 V"]:
    """Feeds the next tokens of a group, ending segments as they fill."""
    if group.cache is None:
        ids = torch.cat([group.state.pending, ids], dim=1)
        group.state, group.cache = _emptied(group.state, ids), _new_cache(model)
    segment_len = model.recurrence.segment_len
    logits: Tensor | None = None
    while ids.shape[1]:
        state = group.state  # its rows are filled alike, so that no padding is among the pending
        num_old = state.pending.shape[1]
        part, ids = ids.tensor_split([segment_len - num_old], dim=1)
        logits, layers = _feed_part(model, group, part, num_old), state.layers
        pending = torch.cat([state.pending, part], dim=1)
        is_whole = pending.shape[1] == segment_len
        if is_whole:
            layers = _end_segment(model, group, pending)
            pending = pending[:, segment_len - model.recurrence.overlap_len :]
            group.restart(model, layers)
        group.state = RecurrentState(
            layers=layers,
            pending=pending,
            num_pending=torch.full_like(state.num_pending, pending.shape[1]),
            num_tokens=state.num_tokens + part.shape[1],
        )
        if is_whole and pending.shape[1]:
            _ = _feed_part(model, group, pending, 0)
    assert logits is not None, "a group was fed no tokens"
    return logits


def _feed_part(
    model: "Recurrent", group: Group, part: Int[Tensor, "N T"], num_before: int
) -> Float[Tensor, "N 1 V"]:
    """Feeds tokens of one segment, as a step of the group's loop if it is one token."""
    schedule = model.schedule(may_compile=False)
    position, num_new = schedule.start(num_before), part.shape[1]
    has_tokens_before = not num_before and model.memory.visit().prefix_len > 0
    if group.loop is not None and num_new == 1 and not has_tokens_before:
        return group.loop.step(part, position)
    group.seek(position)
    last = torch.tensor([num_new - 1], device=part.device)
    states, cache = group.state.layers, group.cache
    result = schedule.run(
        part, states, is_whole=False, logits_at=last, cache=cache, num_before=num_before
    )
    assert result.logits is not None, "logits were asked for"
    return result.logits


def _end_segment(model: "Recurrent", group: Group, ids: Int[Tensor, "N L"]) -> tuple[State, ...]:
    """Writes the memories: through its tokens after the cached text, or from the text anew."""
    schedule = model.schedule()
    if model.memory.visit().suffix_len:
        group.seek(schedule.start(ids.shape[1]))
        return schedule.end_segment(ids, group.state.layers, group.cache)
    return schedule.run(ids, group.state.layers, is_whole=True).states


def _new_cache(model: "Recurrent") -> DynamicCache:
    return DynamicCache(config=model.config)
