"""What is compared, on what, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from armt.core.config import Config, MemoryConfig, split_change
from armt.core.errors import ConfigError
from armt.core.registry import MEMORIES, Registry
from armt.training.config import RunConfig, TextConfig


@dataclass(frozen=True, kw_only=True)
class RetrievalPart(Config):
    """Associative retrieval: trained up to some number of pairs, tested at several."""

    run: RunConfig
    """The training; memory and seed are put in for each memory. The last stage tells the task."""

    nums_pairs: tuple[int, ...]
    """Numbers of pairs that are tested, one pair a segment."""

    num_samples: int = 256
    """Questions at each number of pairs."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _check_counts(self, "num_samples")
        _check_each(self.nums_pairs, "nums_pairs")


@dataclass(frozen=True, kw_only=True)
class FactPart(Config):
    """BABILong QA1 over texts of some numbers of whole segments."""

    run: RunConfig
    """The training; memory, texts and seed are put in."""

    nums_segments: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Segments of context before the question."""

    num_samples: int = 64
    """Questions at each length, all about held-out books."""

    batch_size: int = 64
    """Texts read side by side."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _check_counts(self, "num_samples", "batch_size")
        _check_each(self.nums_segments, "nums_segments")


@dataclass(frozen=True, kw_only=True)
class LanguagePart(Config):
    """Language modelling on rows of several segments; speed and size are measured on its model."""

    run: RunConfig
    """The training; memory, texts and seed are put in. The last stage tells the task."""

    num_rows: int = 32
    """Rows of held-out text."""

    batch_size: int = 8
    """Rows read side by side, also where the speed of reading is measured."""

    num_read_segments: int = 32
    """Segments of a row whose reading is timed."""

    def __post_init__(self) -> None:
        """Checks the options."""
        _check_counts(self, "num_rows", "batch_size", "num_read_segments")


Part = RetrievalPart | FactPart | LanguagePart


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig(Config):
    """Everything that decides a comparison."""

    name: str
    """Name of the setting."""

    retrieval: RetrievalPart
    """How well single associations are recalled."""

    qa1: FactPart
    """How far back a fact is found."""

    language: LanguagePart
    """How much easier later segments become; and speed and size."""

    text: TextConfig = field(default_factory=TextConfig)
    """The texts of both text parts; `text.background` names folders of books."""

    memories: tuple[str, ...] = ()
    """Which are compared, by name; all registered ones by default."""

    memory_options: tuple[str, ...] = ()
    """`NAME.PATH=VALUE` of memories, such as `armt.d_mem=32`; whatever is not named here is as in
    the memory's card, which holds a config for tests."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each decides weights and training data, for all memories alike."""

    commit: str = ""
    """Written into the records; by default that of the checkout."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if not self.seeds:
            raise ConfigError("`seeds` must name at least one. Got none.")

    def memory_configs(self) -> dict[str, MemoryConfig]:
        """Returns the options of each memory that is compared, by name.

        Raises:
            UnknownNameError: no memory has a name that is asked for.
            ConfigError: a memory has no such option or no config to begin with.
        """
        cards = [MEMORIES[name] for name in self.memories] or list(MEMORIES)
        changes: dict[str, list[str]] = {card.name: [] for card in MEMORIES}
        for change in self.memory_options:
            path, value = split_change(change, "armt.d_mem=32")
            name, _, rest = path.partition(".")
            changes[MEMORIES[name].name].append(f"{rest}={value}")
        return {card.name: card.config.changed(changes[card.name], "d_mem=32") for card in cards}

    def part(self, name: str, memory: MemoryConfig, seed: int) -> Part:
        """Returns a part with its run made complete."""
        part: Part = getattr(self, name)
        text = None if part.run.text is None else self.text
        return replace(part, run=replace(part.run, memory=memory, seed=seed, text=text))


SETTINGS: Registry[Callable[[], ComparisonConfig]] = Registry("setting", "armt.comparison")
"""Every setting; `armt.comparison.settings` adds its own."""


def _check_counts(config: Config, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"`{name}` must be at least 1. Got {getattr(config, name)}.")


def _check_each(numbers: tuple[int, ...], name: str) -> None:
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"`{name}` must be numbers from 1 up. Got {numbers}.")
