"""Ends a training at a step when the process is asked to stop, so that nothing is lost."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import final

from armt.core.errors import StoppedError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@final
class StopRequest:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._signal: signal.Signals | None = None

    @property
    def is_made(self) -> bool:
        """Whether to stop after the present step."""
        return self._signal is not None

    def note(self, number: int) -> None:
        """Remembers which signal asked."""
        self._signal = signal.Signals(number)

    def error(self, where: str) -> StoppedError:
        """Returns what to raise once all is saved; `where` says how far the work has come."""
        assert self._signal is not None, "nobody asked to stop"
        return StoppedError(
            f"Stopped by {self._signal.name} {where}. The same command goes on from there.",
            exit_code=128 + self._signal,
        )


@contextmanager
def stop_requests(*, is_alone: bool) -> Generator[StopRequest]:
    """Turns the first SIGTERM or SIGINT into a request; a second one ends the process at once.

    Outside of the main thread signals cannot be caught, and none is. Nor is one where several
    processes train together: they would stop at different steps and wait for each other.
    """
    request = StopRequest()
    if not is_alone or threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {each: signal.getsignal(each) for each in _SIGNALS}

    def restore() -> None:
        for each, handler in before.items():
            _ = signal.signal(each, handler)

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        request.note(number)
        restore()

    for each in _SIGNALS:
        _ = signal.signal(each, note)
    try:
        yield request
    finally:
        restore()
