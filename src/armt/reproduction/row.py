"""A row that was recorded, and what its figures are beside those that are measured now."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from armt.benchmarking.records import Measurement, load_records
from armt.core.registry import Registry
from armt.reproduction.work import Work

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
"""The records of the repository; they are no part of an installed package."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Something recorded that can be run again."""

    work: Work
    tiny: Work
    """The same in small, for a laptop. It shows that all of it runs, and is not recorded."""

    records: tuple[str, ...]
    """Names of the files of records, without their ending; `{seed}` stands for the seed. A figure
    that stands in several files is that of the last."""

    figures: tuple[str, ...]
    """Names of the figures that are set side by side."""

    keys: tuple[str, ...]
    """Parameters that tell two figures of one name apart."""

    times: tuple[str, ...] = ()
    """Names of the figures in seconds that are the time it took; none if that was not kept."""

    only: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters by which the row is known in a file that holds others too."""

    note: str = ""
    """What the recorded run had that others must provide."""

    def recorded(self, seed: int, results: Path = RESULTS) -> list[Measurement]:
        """Returns what was recorded for this seed; nothing without a record.

        Raises:
            DataError: the records are damaged.
        """
        found: dict[tuple[object, ...], list[Measurement]] = {}
        for name in self.records:
            path = results / f"{name.format(seed=seed)}.jsonl"
            earlier = load_records(path) if path.exists() else []
            ours = [each for each in earlier if each.seed == seed and self._is_ours(each)]
            # within a file figures of one key may be several parts of one time
            found |= {self._key(each): [] for each in ours}
            for each in ours:
                found[self._key(each)].append(each)
        return [each for same in found.values() for each in same]

    def seconds(self, recorded: Iterable[Measurement]) -> float | None:
        """Returns how long the recorded run took, if that was kept."""
        found = [each.value for each in recorded if each.name in self.times]
        return sum(found) if found else None

    def beside(
        self, measured: Iterable[Measurement], recorded: Iterable[Measurement]
    ) -> list["Pair"]:
        """Returns each figure that was measured with the recorded one; of several the last."""
        before = {self._key(each): each for each in recorded}
        now = {self._key(each): each for each in measured if each.name in self.figures}
        return [Pair(each, self._told(each), before.get(key)) for key, each in now.items()]

    def _is_ours(self, figure: Measurement) -> bool:
        return all(figure.params.get(name, value) == value for name, value in self.only.items())

    def _key(self, figure: Measurement) -> tuple[object, ...]:
        return (figure.name, figure.seed, *(figure.params.get(key) for key in self.keys))

    def _told(self, figure: Measurement) -> str:
        told = [(key, figure.params.get(key)) for key in self.keys]
        return ", ".join(f"{key} {value}" for key, value in told if value is not None)


class Pair(NamedTuple):
    """A figure of now and its like of before."""

    measured: Measurement
    about: str
    """What it was measured at."""

    recorded: Measurement | None


ROWS: Registry[Callable[[], Row]] = Registry("row", "armt.reproduction")
"""Every row; `armt.reproduction.rows` adds its own."""
