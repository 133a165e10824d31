"""What the commands show: notices, numbers with units, the progress of a reading."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from armt.benchmarking.clock import resident_nbytes

if TYPE_CHECKING:  # importing rich draws random numbers, which an import should not
    from rich.console import Console

_LINE_EVERY_S = 10.0
FAILED_CODE = 1
"""Exit code when what was run has failed in part: a check, a measurement, a memory."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def notices() -> "Console":
    """Returns where notices and progress go: the standard error, so that results can be piped."""
    return _console(stderr=True)


def results() -> "Console":
    """Returns where results go: the standard output."""
    return _console(stderr=False)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    # Paths, answers and reasons are shown as they are: `d[run]` is a folder, no style.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def silence_transformers() -> None:
    """Turns off the bars that transformers shows while it loads and saves weights."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def spell_nbytes(nbytes: float) -> str:
    """Returns a size such as `1.5 MiB`."""
    for unit in _UNITS[:-1]:
        if abs(nbytes) < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} {_UNITS[-1]}"


@final
class RareLines:
    """Prints a line now and then, for logs and pipes that have no place for a bar."""

    def __init__(self, console: "Console") -> None:
        """Prints to `console`, unless it is a terminal."""
        self._console = console
        self._last_line = time.monotonic()

    def show(self, text: str) -> None:
        """Prints `text` if nothing was printed for a while."""
        if self._console.is_terminal or time.monotonic() - self._last_line < _LINE_EVERY_S:
            return
        self._last_line = time.monotonic()
        self._console.print(text)


@final
class ReadingProgress:
    """Shows how a text is read: tokens, tokens a second, resident memory, size of the state.

    A live line on a terminal, a line now and then elsewhere. Use it in a `with` statement.
    """

    def __init__(self, console: "Console", *, num_tokens: int | None = None) -> None:
        """Writes to `console`; `num_tokens` is the length of the text, if it is known."""
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._num_tokens = num_tokens
        self._started = time.monotonic()
        self._lines = RareLines(console)
        self._first_resident: int | None = None
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self._task = self._bar.add_task("reading", total=num_tokens)

    def __enter__(self) -> Self:
        """Begins."""
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the terminal back."""
        if self._console.is_terminal:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self._started

    @property
    def growth_nbytes(self) -> int:
        """How much more memory the process holds than after the first segment."""
        now = resident_nbytes()
        return now - (now if self._first_resident is None else self._first_resident)

    def show(self, num_tokens: int, state_nbytes: int) -> None:
        """Shows how far the reading is; called first after the first segment."""
        if self._first_resident is None:
            self._first_resident = resident_nbytes()
        text = self.describe(num_tokens, state_nbytes)
        if self._console.is_terminal:
            self._bar.update(self._task, description=text, completed=num_tokens)
        self._lines.show(text)

    def describe(self, num_tokens: int, state_nbytes: int) -> str:
        """Returns the line."""
        of = f" of {self._num_tokens:,}" if self._num_tokens else ""
        speed = num_tokens / max(self.seconds, 1e-9)
        return (
            f"{num_tokens:,}{of} tokens, {speed:,.0f} tokens/s, "
            f"{spell_nbytes(resident_nbytes())} resident, state {spell_nbytes(state_nbytes)}"
        )
