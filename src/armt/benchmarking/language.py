"""Measures language models: bits a byte of held-out books by segment, at equal compute."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from armt.benchmarking.records import RecordBook
from armt.core.config import PlainTree
from armt.core.registry import MEMORIES
from armt.evaluation.language_modeling import segment_bits_per_byte
from armt.memories.none import NoMemoryConfig
from armt.recurrence.flops import count_flops
from armt.recurrence.model import Recurrent
from armt.tasks.encoder import TokenizerEncoder
from armt.tasks.language_modeling import LanguageModeling
from armt.training.config import RunConfig
from armt.training.run import build_model

BITS = "lm.bits_per_byte"
"""Name of the figure."""


def memory_changes(run: RunConfig, memory: str, encoder: TokenizerEncoder) -> list[str]:
    """Returns the options that give a recipe another memory at equal compute; none for its own.

    Each stage has as many steps as the operations of the recipe's own allow, so that a model
    without a memory reads more text and one with memory tokens less.

    Raises:
        UnknownNameError: no memory has this name.
    """
    if MEMORIES[memory].config_class is type(run.memory):
        return []
    own, other = (_flops(each, encoder) for each in (run, run.replaced("memory", memory)))
    steps = [round(stage.num_steps * own / other) for stage in run.stages]
    longer = [f"stages.{number}.num_steps={each}" for number, each in enumerate(steps)]
    return [f"memory={memory}", *longer]


def _flops(run: RunConfig, encoder: TokenizerEncoder) -> int:
    """Returns the operations of a segment whose every token is predicted."""
    shape = run.backbone
    head = 2 * encoder.vocab_size * shape.d_model * run.recurrence.segment_len
    return count_flops(build_model(run, encoder)).total + head


class LanguageExam(NamedTuple):
    """What a language model is measured on, and where that is recorded."""

    config: RunConfig
    mechanism: str
    """Name of the memory."""

    num_segments: int
    """Segments of a row, from one book."""

    num_rows: int
    """Rows of held-out books."""

    book: RecordBook
    """Takes the figures."""

    changes: Sequence[str] = ()
    """Options that are not those of the recipe, as typed."""

    @property
    def is_done(self) -> bool:
        """Whether every figure is recorded, so that there is nothing to train a model for."""
        return not any(self._missing(arm) for arm in self._arms)

    def measure(self, model: Recurrent, task: LanguageModeling, batch_size: int) -> None:
        """Records the bits a byte that are missing, with the memory and without it.

        Args:
            model: what was trained.
            task: the held-out books, in rows of so many segments.
            batch_size: rows read side by side.
        """
        for arm, use_memory in self._arms.items():
            missing = self._missing(arm)
            if not missing:
                continue
            found = segment_bits_per_byte(
                model, task, self.num_rows, batch_size=batch_size, use_memory=use_memory
            )
            for number in missing:
                bits, told = found[number - 1], self._told(arm)
                _ = self.book.add(BITS, bits, "bits/byte", **told, segment=number)

    @property
    def _arms(self) -> Mapping[str, bool]:
        """Memory on and off; one arm where there is none."""
        is_none = isinstance(self.config.memory, NoMemoryConfig)
        return {"on": True} if is_none else {"on": True, "off": False}

    def _told(self, arm: str) -> dict[str, PlainTree]:
        return {
            "recipe": self.config.name,
            "changes": list(self.changes),
            "mechanism": self.mechanism,
            "memory": arm,
            "segments": self.num_segments,
            "num_rows": self.num_rows,
        }

    def _missing(self, arm: str) -> list[int]:
        """Returns the numbers of the segments that are not recorded, from 1 on."""
        return [
            number
            for number in range(1, self.num_segments + 1)
            if not self.book.holds(BITS, **self._told(arm), segment=number)
        ]
