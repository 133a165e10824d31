"""Errors that teach: what is wrong, the value received, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean '...'?" with the known name nearest to `name`, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


class ArmtError(Exception):
    """A mistake of the user or of the outside world, told in one line with its remedy."""


class ConfigError(ArmtError):
    """An option has a value that cannot work."""


class UnknownNameError(ArmtError):
    """A name (memory, recipe, task, ...) is not registered."""


class DataError(ArmtError):
    """A text, a corpus or a data set cannot be used."""


class BackboneError(ArmtError):
    """A model cannot carry the memory asked for."""


class StateError(ArmtError):
    """A state does not fit the model or holds values that are not finite."""

    def __init__(self, message: str, *, state: Any = None) -> None:
        """Keeps the last good state of a reading (a `RecurrentState`), where there is one."""
        super().__init__(message)
        self.state = state


class StateFileError(StateError):
    """A state file is damaged, foreign, or belongs to another model."""


class StorageError(ArmtError):
    """The disk is full or refuses a file; the message says what became of what was there before."""


class DeviceError(ArmtError):
    """A GPU failed in a way that this process cannot get over."""


class MissingExtraError(ArmtError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        """Names the feature and prints the line that installs what it needs."""
        super().__init__(f"{feature} needs an extra. Install it with: pip install 'armt[{extra}]'")


class StoppedError(ArmtError):
    """The process was asked to stop, and did so with everything saved."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        """Keeps the exit code that tells which signal it was."""
        super().__init__(message)
        self.exit_code = exit_code
