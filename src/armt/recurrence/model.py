"""The assembled model: a Hugging Face decoder that reads texts of any length through a memory."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from armt.backbones.adapters import AdapterPair, AdapterSwitch, checkpoint_contexts
from armt.backbones.cells import copy_rows
from armt.backbones.huggingface import CACHE_NAMES, Anatomy
from armt.core.errors import ArmtError, BackboneError, ConfigError
from armt.core.shapes import Float, Int, Tensor
from armt.recurrence.arguments import checked_ids, checked_labels, checked_prompt, taken_cache
from armt.recurrence.choose_schedule import choose_compiler, choose_waves
from armt.recurrence.config import RecurrenceConfig
from armt.recurrence.decoding import RecurrentCache, RowWatch, decode, watched
from armt.recurrence.loss import Labels, make_targets
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.pieces import Encoder, check_vocabulary, id_pieces, is_whole
from armt.recurrence.reading import ReadingProgress, read_pieces
from armt.recurrence.schedule import SequentialSchedule
from armt.recurrence.segmenter import PackedText, pack
from armt.recurrence.state import RecurrentState
from armt.recurrence.walk import Walk, kept_columns, num_to_keep

_CACHE_FIELD = next(
    field.name for field in dataclasses.fields(CausalLMOutputWithPast) if field.name in CACHE_NAMES
)


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
    adapters: AdapterPair | None = None
    """Adapters for reading and for writing, if they differ (`armt.use_adapters`)."""

    _is_stateful = True  # transformers then refuses to take back tokens, which no memory can

    def init_state(self, batch_size: int = 1) -> RecurrentState:
        """Returns the state before anything was read, for `batch_size` texts."""
        return RecurrentState(
            layers=self.memory.init_states(batch_size),
            pending=torch.zeros(batch_size, 0, dtype=torch.long),
            num_pending=torch.zeros(batch_size, dtype=torch.long),
            num_tokens=torch.zeros(batch_size, dtype=torch.long),
        )

    def forward(
        self,
        input_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Tensor | None = None,
        labels: Int[Tensor, "B T"] | None = None,
        loss_weights: Float[Tensor, "B T"] | None = None,
        state: RecurrentState | None = None,
        logits_to_keep: int | None = None,
        **options: Any,
    ) -> RecurrentOutput:
        """Goes over a text of any length, one row of the batch for each text.

        Args:
            input_ids: the tokens that follow those of `state`.
            attention_mask: 0 at padding, on either side; padding never enters the memory.
            labels: the tokens themselves, -100 where no loss is wanted; the shift is done here.
            loss_weights: how much each label counts in the loss; by default all alike.
            state: what was read before; by default nothing.
            logits_to_keep: how many columns at the end get logits, 0 for all. By default all, and
                with labels as many as the last segment has. Padding gets zeros.
            **options: `num_items_in_batch`, the divisor of the loss (by default the weights of the
                labels); `label_start`, a position before which no label stands, which spares a wait
                for a GPU; `carry_len`, tokens after which the state is taken instead of at the end.
                `position_ids`, `use_cache` and the like have no effect: a recurrence sets them.

        Raises:
            BackboneError: the model is a copy of `nn.DataParallel`.
            DataError: rows or shapes do not fit each other, or an option cannot be had.
            StateError: the state is of a model with another memory.
        """
        self._check_is_no_replica()
        cache = taken_cache(options)
        ids = checked_ids(input_ids, cache, options)
        if isinstance(cache, RecurrentCache):
            found: dict[str, Any] = {_CACHE_FIELD: cache}
            return RecurrentOutput(logits=decode(self, ids, attention_mask, cache), **found)
        state = self._checked_state(state) or self.init_state(len(ids))
        wanted = None if labels is None else checked_labels(ids, labels, loss_weights, options)
        packed = pack(state, ids, attention_mask).overlapping(self.recurrence)
        return self._go_over(ids, packed, state, wanted, logits_to_keep, options.get("carry_len"))

    def _check_is_no_replica(self) -> None:
        """Refuses to run as one of the copies that `nn.DataParallel` makes for each pass."""
        if getattr(self, "_is_replica", False):
            raise BackboneError(
                "nn.DataParallel makes copies whose layers share one memory, so that their texts "
                "would be mixed. Use DistributedDataParallel, one process for each GPU, as "
                "`accelerate launch` starts them."
            )

    def _checked_state(self, state: RecurrentState | None) -> RecurrentState | None:
        """Returns the state that a caller gave, which is of a model with the same memory."""
        if state is not None:
            self.memory.check_states(state.layers)
        return state

    def _go_over(
        self,
        ids: Int[Tensor, "B T"],
        packed: PackedText,
        state: RecurrentState,
        labels: Labels | None,
        logits_to_keep: int | None,
        carry_len: int | None,
    ) -> RecurrentOutput:
        """Walks over a text that was packed from `ids`, with a loss if there are labels."""
        check_vocabulary(self, packed.ids)
        width = ids.shape[1]
        default_len = None if labels is None else self.recurrence.segment_len
        num_kept = num_to_keep(packed, width, logits_to_keep, default_len)
        targets = None if labels is None else make_targets(labels, packed)
        is_kept = kept_columns(packed, width, num_kept)
        walk = Walk(self.schedule(), self.recurrence, packed, targets, is_kept, choose_waves(self))
        after, losses = walk.run(state, carry_len), walk.losses
        loss = None if labels is None else losses.mean(labels.num_items, ids)
        return RecurrentOutput(
            loss=cast("Any", loss),
            logits=cast("Any", walk.joined_logits(width, num_kept)),
            state=after,
            num_labels=losses.num_labels,
            num_correct=losses.num_correct,
        )

    @torch.no_grad()
    def read(
        self,
        source: str | Tensor | Iterable[Any],
        state: RecurrentState | None = None,
        *,
        tokenizer: Encoder | None = None,
        on_progress: Callable[[ReadingProgress], None] | None = None,
    ) -> RecurrentState:
        """Reads a text of any length in constant memory and returns the state after it.

        Args:
            source: a text, token ids (a list, or a tensor of shape `T` or `B T`), or an iterator
                over pieces of either, which is never held as a whole. Pieces of text are encoded
                apart.
            state: what was read before; by default nothing.
            tokenizer: encodes text; not needed for token ids.
            on_progress: called after each piece of at most one segment.

        Tokens that do not fill a segment stay pending in the state. An empty text changes nothing.

        Raises:
            DataError: text without a tokenizer, ids that the model does not know, or rows that do
                not fit the state.
            StateError: the memory is no longer finite, or the state is of another one. The first is
                noticed every 64 segments, or 128 for each layer where a loop reads; the message
                says between which tokens, and `state` of the error is the last good one.
        """
        state = self._checked_state(state)
        pieces = id_pieces(source, tokenizer)
        state = read_pieces(self, pieces, state, on_progress, is_whole=is_whole(source))
        return state or self.init_state(1)

    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Any = None,
        stopping_criteria: Sequence[StoppingCriteria] | None = None,
        *args: Any,
        state: RecurrentState | None = None,
        **options: Any,
    ) -> Any:
        """Generates as transformers does, going on from `state`.

        All options of `transformers.GenerationMixin.generate` hold. A segment is written to the
        memory when it fills. With `return_dict_in_generate=True` the state after each row's text,
        without its last token, is `output.past_key_values.state`; what stands behind the end of a
        row that ended before others is not in it. There is none for beams, nor for rows that began
        at different places of their segments: those have `output.past_key_values.groups`.

        Raises:
            ArmtError: the call asks for a cache or for assisted decoding, which no memory can do,
                or the memory is not causal.
            DataError: there is no prompt.
            StateError: the state is of a model with another memory.
        """
        if not self.memory.is_causal:
            raise ArmtError(
                "This form of the memory looks at a segment before it is read, so that no text can "
                "be generated through it. Take the causal form."
            )
        prompt = checked_prompt(inputs, options, generation_config, self.generation_config)
        cache = RecurrentCache(self._checked_state(state) or self.init_state(len(prompt)))
        options |= {self._cache_name: cache, "use_cache": True}
        watching = StoppingCriteriaList([*(stopping_criteria or ()), RowWatch(cache)])
        generate = cast("Any", super()).generate
        output = generate(inputs, generation_config, logits_processor, watching, *args, **options)
        cache.release()
        return output

    def _get_stopping_criteria(self, *args: Any, **options: Any) -> StoppingCriteriaList:
        """Returns transformers' criteria, which also tell the cache what rows they end."""
        return watched(cast("Any", super())._get_stopping_criteria(*args, **options))

    @classmethod
    def can_generate(cls) -> bool:
        """Says that every model with a memory can generate, which transformers asks each base."""
        return True

    def prepare_inputs_for_generation(
        self,
        input_ids: Int[Tensor, "B T"],
        cache: Any = None,
        past_key_values: Any = None,
        cache_params: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Returns what `forward` gets for the next token, as the family prepares it.

        From this signature `generate` learns under which names a cache is taken; that of some
        families (Falcon-H1) does not tell.
        """
        given = zip(CACHE_NAMES, (cache, past_key_values, cache_params), strict=True)
        kwargs |= {name: value for name, value in given if value is not None}
        return cast("Any", super()).prepare_inputs_for_generation(input_ids, **kwargs)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Recomputes each layer's activations in the backward pass.

        Raises:
            ConfigError: the re-entrant form is asked for, which would lose the memory's gradient,
                or contexts of your own beside different adapters for reading and writing.
        """
        chosen = {"use_reentrant": False} | (gradient_checkpointing_kwargs or {})
        if chosen["use_reentrant"]:
            raise ConfigError(
                "Checkpointing with `use_reentrant=True` loses the memory's gradient. Use False."
            )
        if self.adapters is not None:
            if "context_fn" in chosen:
                raise ConfigError(
                    "Different adapters for reading and writing need the `context_fn` of "
                    "checkpointing for themselves. Leave it out."
                )
            chosen["context_fn"] = partial(checkpoint_contexts, self)
        cast("Any", super()).gradient_checkpointing_enable(
            gradient_checkpointing_kwargs=chosen, **options
        )

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """Returns the weights as torch does, but copies of those that waves laid side by side."""
        weights = cast("Any", super()).state_dict(*args, **options)
        copy_rows(weights, len(self.anatomy.layers))
        return weights

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
    def from_pretrained(cls, folder: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
        """Loads what `save_pretrained` wrote; `AutoModelForCausalLM` does the same.

        Raises:
            BackboneError: the saved model has no memory.
        """
        from armt.recurrence.auto import load_recurrent

        return load_recurrent(folder, *args, **options)

    @property
    def _cache_name(self) -> str:
        assert self.anatomy.cache_name is not None, "a decoder that was examined has a cache"
        return self.anatomy.cache_name

    def schedule(self, *, may_compile: bool = True) -> SequentialSchedule:
        """Returns what runs one segment of this model.

        Whether its cells can be compiled takes a walk over all layers; with a cache none are.
        """
        return SequentialSchedule(
            memory=self.memory,
            layers=self.anatomy.layers,
            embed=cast("Any", self.get_input_embeddings()),
            decoder=cast("Any", self.anatomy.decoder),
            forward=cast("Any", super()).forward,
            segment_len=self.recurrence.segment_len,
            cache_name=self._cache_name,
            compiler=choose_compiler(self) if may_compile else None,
            adapters=None if self.adapters is None else AdapterSwitch(self, self.adapters),
        )
