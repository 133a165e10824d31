"""The assembled model: a Hugging Face decoder that reads texts of any length through a memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol, cast

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from armt.backbones.huggingface import Anatomy
from armt.core.errors import ArmtError, ConfigError, DataError
from armt.core.shapes import Bool, Float, Int, Tensor
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.decoding import RecurrentCache, decode
from armt.recurrence.loss import LossSum, Targets, make_targets
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.schedule import SequentialSchedule
from armt.recurrence.segmenter import PackedText, Segment, on_device, pack
from armt.recurrence.state import RecurrentState


class Encoder(Protocol):
    """What `read` needs of a tokenizer."""

    def encode(self, text: str, /, *, add_special_tokens: bool = ...) -> Any:
        """Returns the token ids of `text`."""
        ...


@dataclass
class RecurrentOutput(CausalLMOutputWithPast):
    """What a forward pass over a text returns."""

    state: RecurrentState | None = None
    """What is known after the text; give it to the next call to go on."""

    num_labels: Tensor | int | None = None
    """Labelled tokens that the loss was taken over."""

    num_correct: Tensor | int | None = None
    """Labelled tokens that were the most likely ones."""


class Recurrent(PreTrainedModel):
    """What `attach` adds to a model's own class; never built by itself.

    The instance keeps its class, its parameter names and every method of transformers; `forward`,
    `generate` and `read` go over the text segment by segment and through `memory`.
    """

    memory: MemoryStack
    recurrence: RecurrenceConfig
    anatomy: Anatomy
    _is_stateful = True  # transformers then refuses to take back tokens, which no memory can

    def init_state(self, batch_size: int = 1) -> RecurrentState:
        """Returns the state before anything was read, for `batch_size` texts."""
        return RecurrentState(
            layers=self.memory.init_states(batch_size),
            pending=torch.zeros(batch_size, 0, dtype=torch.long),
            num_pending=torch.zeros(batch_size, dtype=torch.long),
            num_tokens=torch.zeros(batch_size, dtype=torch.long),
        )

    def forward(  # noqa: PLR0913 -- the signature that transformers' callers expect
        self,
        input_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        labels: Int[Tensor, "B T"] | None = None,
        label_weights: Float[Tensor, "B T"] | None = None,
        label_start: int | None = None,
        state: RecurrentState | None = None,
        logits_to_keep: int | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **options: Any,
    ) -> RecurrentOutput:
        """Goes over a text of any length, one row of the batch for each text.

        Args:
            input_ids: the tokens that follow those of `state`.
            attention_mask: 0 at padding, on either side; padding never enters the memory.
            past_key_values: only from `generate`: the text is continued token by token.
            labels: the tokens themselves, -100 where no loss is wanted; the shift is done here.
            label_weights: how much each label counts in the loss; by default all alike.
            label_start: a position before which no label stands; spares a look at the labels, for
                which a GPU would have to be waited for.
            state: what was read before; by default nothing.
            logits_to_keep: how many columns at the end get logits, 0 for all. By default all, and
                with labels as many as the last segment has. Padding gets zeros; where all of it
                is padding there are no logits.
            num_items_in_batch: divisor of the loss; by default the number of labels.
            **options: `position_ids` and the like, which a recurrence sets itself.

        Raises:
            DataError: rows or shapes do not fit each other.
        """
        del options
        if input_ids is None:
            raise DataError("A recurrence reads token ids. Give `input_ids`, not embeddings.")
        if isinstance(past_key_values, RecurrentCache):
            logits = decode(self, input_ids, attention_mask, past_key_values)
            return RecurrentOutput(logits=logits, past_key_values=cast("Any", past_key_values))
        state = state or self.init_state(len(input_ids))
        packed = pack(state, input_ids, attention_mask)
        targets = None if labels is None else make_targets(labels, label_weights, packed, label_start)
        width = input_ids.shape[1]
        default_len = None if labels is None else self.recurrence.segment_len
        num_kept = _num_to_keep(packed, width, logits_to_keep, default_len)
        walk = _Walk(self, packed, targets, _kept_columns(packed, width, num_kept))
        state = walk.run(state)
        loss = None if labels is None else walk.losses.mean(num_items_in_batch, input_ids)
        return RecurrentOutput(
            loss=cast("Any", loss),
            logits=cast("Any", walk.joined_logits(width, num_kept)),
            state=state,
            num_labels=walk.losses.num_labels,
            num_correct=walk.losses.num_correct,
        )

    @torch.no_grad()
    def read(
        self,
        source: str | Tensor | Iterable[Any],
        state: RecurrentState | None = None,
        *,
        tokenizer: Encoder | None = None,
        on_segment: Callable[[RecurrentState], None] | None = None,
    ) -> RecurrentState:
        """Reads a text of any length in constant memory and returns the state after it.

        Args:
            source: a text, token ids (a list, or a tensor of shape `T` or `B T`), or an iterator over
                pieces of either, which is never held as a whole. Pieces of text are encoded apart.
            state: what was read before; by default nothing.
            tokenizer: encodes text; not needed for token ids.
            on_segment: called with the state after each piece of at most one segment.

        Tokens that do not fill a segment stay pending in the state. An empty text changes nothing.

        Raises:
            DataError: text without a tokenizer, or rows that do not fit the state.
            StateError: the memory is no longer finite.
        """
        for ids in _pieces(source, tokenizer):
            state = state or self.init_state(len(ids))
            ids = ids.to(self.device)
            for piece in ids.split(self.recurrence.segment_len, dim=1):
                packed = pack(state, piece)
                state = _Walk(self, packed, None, None).run(state)
                if on_segment is not None:
                    on_segment(state)
        state = state or self.init_state(1)
        state.check_finite()
        return state

    def generate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        inputs: Tensor | None = None,
        *args: Any,
        state: RecurrentState | None = None,
        **options: Any,
    ) -> Any:
        """Generates as transformers does, going on from `state`.

        All options of `transformers.GenerationMixin.generate` hold. A segment is written to the memory
        when it fills. With `return_dict_in_generate=True` the state after the generated text, without
        its last token, is `output.past_key_values.state`.

        Raises:
            ArmtError: the call asks for a cache or for assisted decoding, which no memory can do.
        """
        prompt = inputs if inputs is not None else options.get("input_ids")
        if prompt is None or prompt.shape[1] == 0:
            raise DataError("Generation needs a prompt of at least one token. Got none.")
        for name in ("past_key_values", "assistant_model", "prompt_lookup_num_tokens"):
            if options.get(name) is not None:
                raise ArmtError(f"A recurrent memory generates without `{name}`. Leave it out.")
        options["past_key_values"] = RecurrentCache(state or self.init_state(len(prompt)))
        options["use_cache"] = True
        return cast("Any", super()).generate(inputs, *args, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Recomputes each layer's activations in the backward pass.

        Raises:
            ConfigError: the re-entrant form is asked for; it would lose the memory's gradient.
        """
        chosen = {"use_reentrant": False} | (gradient_checkpointing_kwargs or {})
        if chosen["use_reentrant"]:
            raise ConfigError(
                "Checkpointing with `use_reentrant=True` loses the memory's gradient. Use False."
            )
        cast("Any", super()).gradient_checkpointing_enable(
            gradient_checkpointing_kwargs=chosen, **options
        )

    def save_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, save_directory: str | os.PathLike[str], **options: Any
    ) -> None:
        """Writes backbone and memory, to be loaded by `AutoModelForCausalLM.from_pretrained`.

        Args:
            save_directory: the folder; what is there stays whole until the new files are written.
            **options: those of transformers' `save_pretrained`.

        Raises:
            StorageError: the disk is full or refuses a file.
        """
        from armt.recurrence.pretrained import save_whole

        save_whole(self, save_directory, **options)

    def save_memory(self, folder: str | os.PathLike[str]) -> None:
        """Writes the memory alone, to be loaded beside the same backbone by `armt.load_memory`.

        Raises:
            StorageError: the disk is full or refuses a file.
        """
        from armt.recurrence.pretrained import save_memory

        save_memory(self, folder)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *args: Any, **options: Any
    ) -> Any:
        """Loads what `save_pretrained` wrote; `AutoModelForCausalLM` does the same.

        Raises:
            BackboneError: the saved model has no memory.
        """
        from armt.recurrence.auto import load_recurrent

        return load_recurrent(folder, *args, **options)

    def schedule(self) -> SequentialSchedule:
        """Returns what runs one segment of this model."""
        return SequentialSchedule(
            memory=self.memory,
            layers=self.anatomy.layers,
            embed=cast("Any", self.get_input_embeddings()),
            decoder=cast("Any", self.anatomy.decoder),
            forward=cast("Any", super()).forward,
        )


class _Walk:
    """One pass over the segments of a packed text."""

    def __init__(
        self,
        model: Recurrent,
        packed: PackedText,
        targets: Targets | None,
        is_kept: Bool[Tensor, " T"] | None,
    ) -> None:
        self.model, self.packed, self.targets = model, packed, targets
        self.is_kept = is_kept
        self.losses = LossSum()
        self._kept: list[tuple[Segment, Int[Tensor, " N"], Float[Tensor, "B N V"]]] = []

    def run(self, state: RecurrentState) -> RecurrentState:
        """Goes over all segments; returns the state after them."""
        options, schedule = self.model.recurrence, self.model.schedule()
        num_segments = -(-int(self.packed.lengths.max()) // options.segment_len)
        current = state
        for segment in self.packed.segments(options.segment_len):
            if self.is_kept is None and not segment.is_whole:
                continue
            number = segment.start // options.segment_len
            if options.is_cut_before(number, num_segments):
                current = current.detach()
            current = self._visit(schedule, segment, current)
        return RecurrentState(
            layers=current.layers, **self.packed.remainder(state, options.segment_len)
        )

    def _visit(
        self, schedule: SequentialSchedule, segment: Segment, state: RecurrentState
    ) -> RecurrentState:
        ids, layers = self.packed.ids[:, segment.start : segment.stop], state.layers
        if segment.rows is not None:
            ids = ids[segment.rows.to(ids.device)]
            layers = tuple(layer.select_rows(segment.rows) for layer in layers)
        columns = self._columns(segment)
        wanted = on_device(columns, ids.device) if len(columns) else None
        result = schedule.run(ids, layers, is_whole=segment.is_whole, logits_at=wanted)
        if result.logits is not None:
            self._collect(segment, columns, result.logits)
        if not segment.is_whole:
            return state
        if segment.rows is None:
            return state.with_layers(result.states)
        pairs = zip(result.states, state.layers, strict=True)
        return state.with_layers(
            tuple(new.scatter_rows(cast("Tensor", segment.rows), old) for new, old in pairs)
        )

    def _columns(self, segment: Segment) -> Int[Tensor, " N"]:
        """Columns of the segment whose logits are needed, counted from its start."""
        if self.is_kept is None:
            return torch.arange(0)
        is_needed = self.is_kept[segment.start : segment.stop]
        if self.targets is not None:
            is_needed = is_needed | self.targets.is_used[segment.start : segment.stop]
        return is_needed.nonzero()[:, 0]

    def _collect(
        self, segment: Segment, columns: Int[Tensor, " N"], logits: Float[Tensor, "B N V"]
    ) -> None:
        if self.targets is not None:
            self.losses.add(logits, self.targets.at(segment.rows, columns + segment.start))
        assert self.is_kept is not None, "reading asks for no logits"
        kept = self.is_kept[columns + segment.start].nonzero()[:, 0]
        if len(kept):
            part = logits[:, on_device(kept, logits.device)]
            self._kept.append((segment, columns[kept] + segment.start, part))

    def joined_logits(self, width: int, num_kept: int) -> Float[Tensor, "B N V"] | None:
        """Returns logits at the last `num_kept` of the caller's `width` columns; zeros at padding."""
        if not self._kept:
            return None
        source = self.packed.source
        if source is None:
            return torch.cat([part for _, _, part in self._kept], dim=1)
        num_rows, first = len(source), width - num_kept
        targets: list[Int[Tensor, "2 N"]] = []
        values: list[Float[Tensor, "N V"]] = []
        for segment, columns, part in self._kept:
            rows = torch.arange(num_rows) if segment.rows is None else segment.rows
            places = source.cpu()[rows][:, columns]
            row, column = (places >= first).nonzero(as_tuple=True)
            targets.append(torch.stack([rows[row], places[row, column] - first]))
            values.append(part[row.to(part.device), column.to(part.device)])
        row, column = torch.cat(targets, dim=1).to(values[0].device)
        logits = values[0].new_zeros(num_rows, num_kept, values[0].shape[-1])
        return logits.index_put((row, column), torch.cat(values))


def _num_to_keep(
    packed: PackedText, width: int, logits_to_keep: int | None, segment_len: int | None
) -> int:
    """Returns how many of the caller's last columns get logits.

    Without a wish these are all of them or, if `segment_len` is given, the last segment's.
    """
    if logits_to_keep is None:
        longest = int(packed.lengths.max())
        last_len = (longest - 1) % segment_len + 1 if segment_len and longest else width
        return min(last_len, width)
    if logits_to_keep < 0:
        raise DataError(f"`logits_to_keep` must not be negative. Got {logits_to_keep}.")
    return min(logits_to_keep or width, width)


def _kept_columns(packed: PackedText, width: int, num_kept: int) -> Bool[Tensor, " T"]:
    """Returns the packed columns that some row has in the caller's last `num_kept` columns."""
    if packed.source is None:
        return torch.arange(width) >= width - num_kept
    source = packed.source.cpu()
    return ((source >= width - num_kept) & (source >= 0)).any(0)


def _pieces(source: object, tokenizer: Encoder | None) -> Iterator[Tensor]:
    """Yields batches of token ids, none of them empty."""
    if isinstance(source, str):
        if tokenizer is None:
            raise DataError("Reading text needs a tokenizer. Give `tokenizer=` or token ids.")
        encoded = tokenizer.encode(source, add_special_tokens=False)
        source = torch.as_tensor(list(getattr(encoded, "ids", encoded)), dtype=torch.long)
    is_array = hasattr(source, "__array__") and not isinstance(source, Tensor)
    if is_array or (isinstance(source, Sequence) and source and isinstance(source[0], Integral)):
        source = torch.as_tensor(source)
    if isinstance(source, Tensor):
        ids = source.unsqueeze(0) if source.dim() == 1 else source
        if ids.dim() != 2 or ids.is_floating_point():
            raise DataError(
                "Token ids must be integers of shape `T` or `B T`. Got "
                f"{ids.dtype} of shape {tuple(source.shape)}."
            )
        if ids.numel():
            yield ids.long()
        return
    if not isinstance(source, Iterable):
        raise DataError(f"Pieces must be texts or lists of token ids. Got {source!r}.")
    for piece in source:
        yield from _pieces(piece, tokenizer)
