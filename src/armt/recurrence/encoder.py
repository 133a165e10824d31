"""An encoder that classifies texts of any length through memory tokens.

A segment is laid out as `[CLS] memory [SEP] text [SEP]`; every position sees every other one. The
last hidden states at the memory tokens stand in the same places of the next segment. Texts are cut
from their end, so that all end with a whole segment, from whose `[CLS]` the class is told. Rows of
fewer segments take no part in the first steps.

Source: Bulatov et al., "Scaling Transformer to 1M tokens and beyond with RMT", arXiv:2304.11062.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from armt.backbones.encoder import SpecialTokens, examine_encoder
from armt.backbones.huggingface import Anatomy
from armt.backbones.last_hidden import last_hidden
from armt.core.errors import BackboneError, ConfigError, DataError
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.core.state import State
from armt.memories.rmt import RMTConfig
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.segmenter import PackedText, pack
from armt.recurrence.state import RecurrentState

NUM_SPECIAL = 3
"""Positions of a segment besides text and memory: `[CLS]` and two `[SEP]`."""

_WITHOUT_EFFECT = frozenset({"return_dict", "token_type_ids", "num_items_in_batch"})


@dataclass
class RecurrentClassifierOutput(SequenceClassifierOutput):
    """What a forward pass over texts returns."""

    state: State | None = None
    """The memory after the texts; give it to the next call to go on."""


class RightSegment(NamedTuple):
    """One segment of each row that has one here, counted from the rows' ends."""

    rows: Int[Tensor, " N"] | None
    """The rows that take part; none for all of them."""

    ids: Int[Tensor, "N W"]
    """Their tokens, left-aligned."""

    lengths: Int[Tensor, " N"]
    """How many of them each row has: a whole segment, but for a row's first one; on the CPU."""


class RecurrentClassifier(PreTrainedModel):
    """What `attach_encoder` adds to a model's own class; never built by itself."""

    memory: MemoryStack
    recurrence: RecurrenceConfig
    anatomy: Anatomy
    special_tokens: SpecialTokens

    def init_state(self, batch_size: int = 1) -> State:
        """Returns the memory before anything was read."""
        return self.memory.init_states(batch_size)[0]

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"] | Int[Tensor, "B T"] | None = None,
        labels: Tensor | None = None,
        state: State | None = None,
        **options: Any,
    ) -> RecurrentClassifierOutput:
        """Classifies texts of any length, one row of the batch for each.

        Without gradients the memory needed does not depend on the length. A text on the CPU goes
        to the model's device segment by segment, so that no more than these stand there.

        Args:
            input_ids: tokens of the texts, without special ones.
            attention_mask: 0 at padding, on either side.
            labels: as for the model itself, which takes the loss.
            state: what was read before; by default nothing.
            **options: those of a data collator or trainer that have no effect here.

        Raises:
            DataError: a text is empty, or an option cannot be had.
        """
        unknown = sorted({name for name, each in options.items() if each is not None})
        if set(unknown) - _WITHOUT_EFFECT:
            raise DataError(f"A recurrent classifier does not take: {', '.join(unknown)}.")
        packed = pack(_nothing_read(len(input_ids)), input_ids, attention_mask)
        if not bool(packed.lengths.all()):
            raise DataError("A text is empty. Give each row at least one token.")
        state = self.init_state(len(input_ids)) if state is None else state
        num_segments = -(-int(packed.lengths.max()) // self.recurrence.segment_len)
        output: Any = None
        for number, segment in enumerate(_cut_from_the_end(packed, self.recurrence.segment_len)):
            if self.recurrence.is_cut_before(number, num_segments):
                state = state.detach()
            is_last = number == num_segments - 1
            state, output = self._read(segment, state, {"labels": labels} if is_last else None)
        return RecurrentClassifierOutput(loss=output.loss, logits=output.logits, state=state)

    def _read(
        self, segment: RightSegment, state: State, head: dict[str, Any] | None
    ) -> tuple[State, Any]:
        """Returns the memory after a segment, and what the head says if it has options."""
        rows = segment.rows
        before = state if rows is None else state.select_rows(rows)
        run = cast("Any", self.anatomy.decoder if head is None else super().forward)
        with last_hidden(self.anatomy.decoder) as noted:
            output = run(**self._inputs(segment, before), **(head or {}))
        written = noted[0][:, 1 : 1 + self._num_tokens]
        after = self.memory.write(written, (before,))[0]
        return after if rows is None else after.scatter_rows(rows, state), output

    def _inputs(self, segment: RightSegment, state: State) -> dict[str, Tensor | None]:
        """Lays out a segment: embeddings, and the mask of those behind a shorter row's end.

        Where all rows are alike there is none: to look whether one hides anything a model would
        wait for its device.
        """
        start_id, separator_id, pad_id = self.special_tokens
        text_ids = _moved(segment.ids, self.device)
        device, (num_rows, width) = text_ids.device, text_ids.shape
        text = torch.nn.functional.pad(text_ids, (0, 1), value=separator_id)
        mask: Tensor | None = None
        if not bool((segment.lengths == width).all()):
            lengths = segment.lengths.to(device).unsqueeze(1)
            places = torch.arange(width + 1, device=device)
            text = text.masked_fill(places == lengths, separator_id)
            text = text.masked_fill(places > lengths, pad_id)
            mask = torch.nn.functional.pad(places <= lengths, (2 + self._num_tokens, 0), value=True)
            mask = mask.long()
        edge = torch.full((num_rows, 1), start_id, device=device)
        ids = torch.cat([edge, torch.full_like(edge, separator_id), text], dim=1)
        embedded: Float[Tensor, "B T D"] = cast("Any", self.get_input_embeddings())(ids)
        mechanism = cast("Any", self.memory.mechanisms[0])
        memory = mechanism.tokens(state).prefix.to(embedded)
        embeds = torch.cat([embedded[:, :1], memory, embedded[:, 1:]], dim=1)
        return {"inputs_embeds": embeds, "attention_mask": mask}

    @property
    def _num_tokens(self) -> int:
        return self.memory.visit().prefix_len


def attach_encoder(
    model: PreTrainedModel,
    memory: RMTConfig,
    special_tokens: SpecialTokens,
    segment_len: int | None = None,
    bptt_depth: int | None = None,
) -> RecurrentClassifier:
    """Gives an encoder that classifies texts a memory and returns it, changed in place.

    Args:
        model: loaded with `AutoModelForSequenceClassification`.
        memory: the memory tokens.
        special_tokens: what the encoder expects around a text.
        segment_len: text tokens of a segment; by default as many as fit the model's positions.
        bptt_depth: segments that a gradient goes back through the memory; none for all.

    Raises:
        BackboneError: the model cannot carry a memory; the message says why.
        ConfigError: segment and memory do not fit the model's positions, or an option is wrong.
    """
    if isinstance(model, RecurrentClassifier):
        raise BackboneError("This model carries a memory already. Load it anew.")
    anatomy = examine_encoder(model)
    stack = MemoryStack(memory, anatomy)
    segment_len = _fitting_len(segment_len, memory.num_memory_tokens, anatomy)
    recurrence = RecurrenceConfig(segment_len=segment_len, bptt_depth=bptt_depth)
    model.__class__ = _recurrent_class(type(model))
    recurrent = cast("RecurrentClassifier", model)
    recurrent.memory = stack.train(model.training)
    recurrent.recurrence = recurrence
    recurrent.anatomy, recurrent.special_tokens = anatomy, special_tokens
    return recurrent


def _fitting_len(segment_len: int | None, num_memory_tokens: int, anatomy: Anatomy) -> int:
    """Returns `segment_len`, by default as many tokens as fit the model's positions."""
    room = (anatomy.max_positions or 0) - num_memory_tokens - NUM_SPECIAL
    segment_len = room if segment_len is None else segment_len
    if anatomy.max_positions is not None and not 1 <= segment_len <= room:
        raise ConfigError(
            f"Segments of {segment_len} tokens with {num_memory_tokens} memory tokens and "
            f"{NUM_SPECIAL} special ones do not fit the model's {anatomy.max_positions} positions. "
            f"Choose `segment_len` of at most {room}."
        )
    return segment_len


def _cut_from_the_end(packed: PackedText, segment_len: int) -> Iterator[RightSegment]:
    """Yields the segments in reading order; the last one is whole unless a text is shorter."""
    lengths, device = packed.lengths, packed.ids.device
    num_segments = -(-int(lengths.max()) // segment_len)
    for number in range(num_segments):
        stops = lengths - (num_segments - 1 - number) * segment_len
        is_there = stops > 0
        rows = is_there.nonzero()[:, 0]
        stops = stops[rows]
        starts = (stops - segment_len).clamp_min(0)
        own = stops - starts
        columns = starts.unsqueeze(1) + torch.arange(int(own.max()))
        # what lies behind a row's own tokens is masked later; it must only exist
        columns = columns.clamp_max(packed.ids.shape[1] - 1)
        ids = packed.ids[rows.unsqueeze(1).to(device), columns.to(device)]
        yield RightSegment(None if len(rows) == len(lengths) else rows, ids, own)


def _moved(ids: Int[Tensor, "N W"], device: torch.device) -> Int[Tensor, "N W"]:
    """Brings tokens to a device, a GPU without waiting for what it is at."""
    if device.type == "cuda" and not ids.is_cuda:
        ids = ids.pin_memory()
    return ids.to(device, non_blocking=True)


def _nothing_read(batch_size: int) -> RecurrentState:
    zeros = torch.zeros(batch_size, dtype=torch.long)
    return RecurrentState((), zeros.new_zeros(batch_size, 0), zeros, zeros)


@functools.cache
def _recurrent_class(base: type[PreTrainedModel]) -> type[RecurrentClassifier]:
    """Returns a class that is both `base` and `RecurrentClassifier`."""
    bases = (RecurrentClassifier, base)
    name = f"Recurrent{base.__name__}"
    return cast("type[RecurrentClassifier]", type(name, bases, {"__module__": base.__module__}))
