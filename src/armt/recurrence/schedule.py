"""The two schedules: one segment after the other, or many at once in waves.

Both go through the model's own code, and the same cells in another order: they differ in nothing
but rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from torch import nn
from torch.nn import functional

from armt.backbones.adapters import AdapterSwitch
from armt.backbones.attach import Port, Visit, bound
from armt.backbones.cells import Cells
from armt.backbones.compiled import Compiler
from armt.backbones.last_hidden import last_hidden
from armt.backbones.layer_calls import Entry, enter, leave, merge_calls
from armt.core.shapes import Float, Int, Tensor
from armt.core.state import State
from armt.recurrence.memory_stack import MemoryStack
from armt.recurrence.wave import Arrival, Rider, Wave

_COMPILED_LEN = 256
"""Parts of segments are compiled for multiples of this length."""


class SegmentResult(NamedTuple):
    """What one segment gave."""

    logits: Float[Tensor, "B N V"] | None
    """Logits at the columns asked for."""

    states: tuple[State, ...]
    """The layers' states after it."""


class _Given(NamedTuple):
    """A segment, or the next tokens of one, as the caller gave it; see `SequentialSchedule.run`."""

    ids: Int[Tensor, "B T"]
    logits_at: Int[Tensor, " N"] | None = None
    cache: Any = None
    num_before: int = 0


class _Part(NamedTuple):
    """What is run at once: a segment, or the next tokens of one."""

    text: Float[Tensor, "B T D"]
    """Embeddings of its text; of the whole segment when this part ends it."""

    states: tuple[State, ...]
    visit: Visit


@dataclass(frozen=True)
class SequentialSchedule:
    """Runs a segment through every layer before the next segment begins."""

    memory: MemoryStack
    layers: Sequence[nn.Module]
    embed: Callable[[Int[Tensor, "B T"]], Float[Tensor, "B T D"]]

    decoder: nn.Module
    """The backbone without its head."""

    forward: Callable[..., Any]
    """The backbone with its head."""

    segment_len: int
    """Text tokens of a whole segment."""

    cache_name: str
    """Under which name the backbone takes a cache."""

    compiler: Compiler | None = None
    """Compiles the cells; none to run the layers operation by operation."""

    adapters: AdapterSwitch | None = None
    """Adapters of their own for reading and writing, in two passes; none for one pass."""

    def run(
        self,
        ids: Int[Tensor, "B T"],
        states: tuple[State, ...],
        *,
        is_whole: bool,
        logits_at: Int[Tensor, " N"] | None = None,
        cache: Any = None,
        num_before: int = 0,
    ) -> SegmentResult:
        """Runs one segment, or the next part of it if `cache` holds what the first parts left.

        `num_before` is how many text tokens of the segment those were. The cache is not asked: that
        of a recurrent backbone does not know.

        Memory tokens stand before the first part. Those after the text are added and the memory is
        written only if `is_whole`: this is where the segment ends. Text cannot see the memory
        tokens behind it, so a part that is not written needs none.
        """
        given = _Given(ids, logits_at, cache, num_before)
        if self.adapters is None:
            return self._run(given, states, is_whole=is_whole)
        logits = None
        if logits_at is not None or not is_whole:
            with self.adapters.reading():
                found = self._run(given, states, is_whole=False)
            if not is_whole:
                return found
            logits = found.logits
        assert cache is None, "a segment is written from its whole text"
        with self.adapters.writing():
            return SegmentResult(logits, self._run(_Given(ids), states, is_whole=True).states)

    def _run(self, given: _Given, states: tuple[State, ...], *, is_whole: bool) -> SegmentResult:
        """Runs a segment or a part of one in a single pass; see `run`."""
        ids, logits_at, cache, num_before = given
        text = self.embed(ids)
        assert cache is not None or not num_before, "earlier parts are in no cache"
        is_start = not num_before
        if is_start and not (self.memory.is_causal or self.memory.is_layer_local):
            states = self.memory.query(text, states, self._encode)
        visit = self.memory.visit(is_start=is_start, is_end=is_whole)
        part = _Part(text, states, visit._replace(start=self.start(num_before), ids=ids))
        return self._pass(part, text, logits_at, cache)

    def end_segment(
        self, ids: Int[Tensor, "B L"], states: tuple[State, ...], cache: Any
    ) -> tuple[State, ...]:
        """Writes a segment whose text was run part by part; what that left is in `cache`.

        An adapter for writing has a cache of its own: then the text is run anew.
        """
        if self.adapters is not None:
            return self.run(ids, states, is_whole=True).states
        text = self.embed(ids)
        visit = self.memory.visit(is_start=False)
        assert visit.suffix_len, "only tokens after the text can end it when it was run"
        visit = visit._replace(start=self.start(ids.shape[1]))
        return self._pass(_Part(text, states, visit), text[:, :0], None, cache).states

    def whole_segment(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B U D"]:
        """Returns the embeddings of a segment with the tokens of layer-local memories around it."""
        return self.memory.surround(self.embed(ids), self.memory.visit())

    def enter(self, ids: Int[Tensor, "B L"]) -> Entry:
        """Returns a whole segment as the first layer sees it, layer-local memory tokens around."""
        return enter(self.layers, self.decoder, self.whole_segment(ids))

    def start(self, num_before: int) -> int:
        """Returns where a part begins that follows so many text tokens, memory tokens counted."""
        return num_before + self.memory.visit().prefix_len if num_before else 0

    def _pass(
        self,
        part: _Part,
        fed: Float[Tensor, "B T D"],
        logits_at: Int[Tensor, " N"] | None,
        cache: Any,
    ) -> SegmentResult:
        """Feeds embeddings of the text between memory tokens, and lets the memories take part."""
        text, states, visit = part
        hidden = self.memory.surround(fed, visit, states)
        if logits_at is not None and visit.prefix_len:
            logits_at = logits_at + visit.prefix_len
        if self.compiler is not None and cache is None:
            return self._run_compiled(hidden, states, visit, logits_at)
        if self.memory.is_layer_local:
            with bound(self.layers, states, visit) as ports:
                return SegmentResult(self._call(hidden, logits_at, cache), _states(ports))
        with last_hidden(self.decoder) as noted:
            logits = self._call(hidden, logits_at, cache)
        if visit.is_writing:
            if self.memory.is_causal:
                states = self.memory.query(text, states, self._encode)
            states = self.memory.write(visit.source(noted[0]), states)
        return SegmentResult(logits, states)

    def _run_compiled(
        self,
        hidden: Float[Tensor, "B T D"],
        states: tuple[State, ...],
        visit: Visit,
        logits_at: Int[Tensor, " N"] | None,
    ) -> SegmentResult:
        """Runs one segment through compiled cells, between the decoder's own ends.

        A part of a segment is filled up behind its end, which a causal layer does not see, so that
        few lengths have to be compiled. No memory that looks at the ids runs compiled.
        """
        visit = visit._replace(ids=None)
        if not visit.is_writing:
            room = max(0, visit.prefix_len + self.segment_len - hidden.shape[1])
            hidden = functional.pad(hidden, (0, 0, 0, min(room, -hidden.shape[1] % _COMPILED_LEN)))
        entry = enter(self.layers, self.decoder, hidden)
        cells = self.cells(entry, visit)
        hidden, after = entry.hidden, list(states)
        for layer, state in enumerate(states):
            hidden, new = cells.run_one(layer, hidden, state)
            after[layer] = new if visit.is_writing else state
        logits = None
        if logits_at is not None:
            logits = leave(self.layers, self.forward, hidden, logits_at)
        return SegmentResult(logits, tuple(after))

    def cells(self, entry: Entry, visit: Visit) -> Cells:
        """Returns the cells, ready to run on segments like the one on the threshold."""
        if self.compiler is None:
            return Cells(self.layers, visit, merge_calls(entry.calls))
        form = (tuple(entry.hidden.shape), entry.hidden.dtype, entry.hidden.device)
        calls = self.compiler.keep(form, lambda: merge_calls(entry.calls))
        return Cells(self.layers, visit, calls, self.compiler)

    def _call(
        self, hidden: Float[Tensor, "B T D"], logits_at: Int[Tensor, " N"] | None, cache: Any
    ) -> Float[Tensor, "B N V"] | None:
        options: dict[str, Any] = {"use_cache": cache is not None, self.cache_name: cache}
        if logits_at is None:
            _ = self.decoder(inputs_embeds=hidden, **options)
            return None
        return self.forward(inputs_embeds=hidden, logits_to_keep=logits_at, **options).logits

    def _encode(self, embedded: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.decoder(inputs_embeds=embedded, use_cache=False)[0]


@final
class WaveSchedule:
    """Runs whole segments in waves: every layer at once, each on its own segment."""

    def __init__(
        self,
        sequential: SequentialSchedule,
        states: tuple[State, ...],
        *,
        is_checkpointed: bool = False,
    ) -> None:
        """Starts from the layers' states; see `Wave`."""
        self._parts = sequential
        self._start = states
        self._is_checkpointed = is_checkpointed
        self._wave: Wave | None = None

    def push(self, ids: Int[Tensor, "B T"], rider: Rider) -> Arrival | None:
        """Sends a whole segment after the others; may give back one that came through."""
        parts = self._parts
        entry = parts.enter(ids)
        if self._wave is None:
            cells = parts.cells(entry, parts.memory.visit())
            self._wave = Wave(cells, self._start, is_checkpointed=self._is_checkpointed)
        return self._wave.advance(entry.hidden, rider)

    def finish(self) -> Iterator[Arrival]:
        """Lets the segments under way go through; yields them as they come out."""
        while self._wave is not None and not self._wave.is_empty:
            arrival = self._wave.advance()
            if arrival is not None:
                yield arrival

    def logits(self, arrival: Arrival, logits_at: Int[Tensor, " N"]) -> Float[Tensor, "B N V"]:
        """Returns the logits of a segment that came through, at the columns asked for."""
        columns = logits_at + self._parts.memory.visit().prefix_len
        return leave(self._parts.layers, self._parts.forward, arrival.hidden, columns)

    @property
    def states(self) -> tuple[State, ...]:
        """The states after all segments; nothing may be under way."""
        return self._start if self._wave is None else self._wave.states

    @property
    def tapped(self) -> tuple[State, ...]:
        """The states after the segment that was tapped."""
        assert self._wave is not None, "nothing was run"
        return self._wave.tapped


def _states(ports: Sequence[Port]) -> tuple[State, ...]:
    states = [port.state for port in ports]
    assert all(state is not None for state in states), "a port lost its state during the pass"
    return tuple(state for state in states if state is not None)
