"""Shows how a training goes: a bar on a terminal, a line now and then elsewhere."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from armt.recurrence.model import Recurrent
from armt.training.trainer import StepReport

if TYPE_CHECKING:  # importing rich draws random numbers, which an import should not
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 10.0


@final
class TrainingProgress:
    """Shows stage, step, loss, accuracy, tokens a second and the time left.

    Use it in a `with` statement around the training, so that the terminal is left in order.
    """

    def __init__(self, console: "Console | None" = None, *, num_stages: int = 1) -> None:
        """Writes to `console`; by default to the standard error."""
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._num_stages = num_stages
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = -_LINE_EVERY_S

    def __enter__(self) -> Self:
        """Begins; nothing is shown before the first report."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the terminal back."""
        self.close()

    def on_report(self, report: StepReport) -> None:
        """Shows the report."""
        text = _describe(report, self._num_stages)
        if self._console.is_terminal:
            self._show(report, text)
            return
        is_due = time.monotonic() - self._last_line >= _LINE_EVERY_S
        if is_due or report.step == report.num_steps:
            self._last_line = time.monotonic()
            left = _spell_seconds(seconds_left(report))
            self._console.print(f"{text}, {left} left", highlight=False, soft_wrap=True)

    def on_end(self, model: Recurrent) -> None:
        """Ends the bar."""
        del model
        self.close()

    def close(self) -> None:
        """Ends the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, report: StepReport, text: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None or self._task is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TimeRemainingColumn(),
                console=self._console,
                expand=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=report.num_steps, completed=report.step)
        self._bar.update(self._task, description=text, completed=report.step)


def seconds_left(report: StepReport) -> float:
    """Returns the time for the steps to come, if they take as long as those done did."""
    return report.seconds / max(report.step, 1) * (report.num_steps - report.step)


def _describe(report: StepReport, num_stages: int) -> str:
    skipped = f", {report.num_skipped} skipped" if report.num_skipped else ""
    return (
        f"stage {report.stage + 1}/{num_stages}, step {report.step:,}/{report.num_steps:,}, "
        f"loss {report.loss:.4f}, accuracy {report.accuracy:.1%}, "
        f"{report.tokens_per_s:,.0f} tokens/s{skipped}"
    )


def _spell_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
