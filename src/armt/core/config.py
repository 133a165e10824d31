"""Configs: frozen, keyword-only, checked when made, written to and read from plain data."""

import dataclasses
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from armt.core.errors import ConfigError, suggestion
from armt.core.layer_shape import LayerShape

if TYPE_CHECKING:
    from armt.core.contract import Memory

Plain = str | int | float | bool | None
if TYPE_CHECKING:
    PlainTree = Plain | list["PlainTree"] | dict[str, "PlainTree"]
else:  # who checks types at run time follows an alias into itself at its first levels only
    PlainTree = Plain | list[object] | dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Config(ABC):
    """Options of one part of the library; subclasses are frozen, keyword-only dataclasses."""

    def to_dict(self) -> dict[str, PlainTree]:
        """Returns the options as plain data."""
        return typing.cast("dict[str, PlainTree]", _plain(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, options: object) -> Self:
        """Makes the config from plain data, which may come from a file that anyone can edit.

        Args:
            options: values by name; every other kind of data is refused.

        Raises:
            ConfigError: an option is unknown, missing or wrong, or there are no names.
        """
        if not isinstance(options, Mapping):
            raise ConfigError(f"{cls.__name__} is made of options by name. Got {options!r}.")
        hints = typing.get_type_hints(cls)
        known = [field.name for field in dataclasses.fields(cls)]
        values: dict[str, object] = {}
        for name, value in typing.cast("Mapping[object, object]", options).items():
            if name not in known:
                raise _unknown_option(cls.__name__, str(name), known)
            values[str(name)] = coerce(value, hints[str(name)], f"{cls.__name__}.{name}")
        missing = [f"`{name}`" for name in _required(cls) if name not in values]
        if missing:
            given = ", ".join(values) or "nothing"
            raise ConfigError(f"{cls.__name__} needs {', '.join(missing)}. Got {given}.")
        return cls(**typing.cast("dict[str, typing.Any]", values))

    def replaced(self, path: str, value: object) -> Self:
        """Returns a copy with the option at the dotted `path` set to `value`.

        Strings are read as the type of the option, so that a command line can use this.

        Raises:
            ConfigError: no option has this path, or the value does not fit.
        """
        name, _, rest = path.partition(".")
        hints = typing.get_type_hints(type(self))
        names = [field.name for field in dataclasses.fields(self)]
        if name not in names:
            raise _unknown_option(type(self).__name__, name, names)
        old = getattr(self, name)
        new = _replaced_inside(old, rest, value) if rest else coerce(value, hints[name], name)
        return dataclasses.replace(self, **{name: new})

    def changed(self, changes: Sequence[str], example: str = "seed=1") -> Self:
        """Returns a copy with every `PATH=VALUE` of a command line done.

        Args:
            changes: what was typed.
            example: a change that makes sense here, told where one cannot be read.

        Raises:
            ConfigError: a change cannot be read, has no such path, or a value does not fit.
        """
        config = self
        for change in changes:
            config = config.replaced(*split_change(change, example))
        return config


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(Config):
    """Options of a memory."""

    free_options: ClassVar[frozenset[str]] = frozenset()
    """Options that change neither what is learned nor what a state says: a state that was written
    under others is read as well."""

    stage_options: ClassVar[frozenset[str]] = frozenset()
    """Options that change neither what is learned nor what a state holds, but what is done with it:
    they may differ from stage to stage of a training."""

    def in_stage(self, changes: Sequence[str]) -> Self:
        """Returns the options with the changes of a stage of training, each a `PATH=VALUE`.

        Raises:
            ConfigError: there is no such option, or it has to be the same in all stages.
        """
        changed = self.changed(changes, "use_recall=false")
        pairs = zip(self.to_dict().items(), changed.to_dict().values(), strict=True)
        fixed = {name for (name, old), new in pairs if old != new} - self.stage_options
        if fixed:
            known = ", ".join(sorted(self.stage_options)) or "none"
            raise ConfigError(
                f"These options of {type(self).__name__} are the same in all stages: "
                f"{', '.join(sorted(fixed))}. A stage may change: {known}."
            )
        return changed

    @abstractmethod
    def build(self, shape: LayerShape) -> "Memory[Any]":
        """Returns the memory for a layer of this shape.

        Raises:
            ConfigError: the options do not suit the layer.
        """


def split_change(change: str, example: str) -> tuple[str, str]:
    """Returns path and value of a `PATH=VALUE` as typed on a command line.

    Raises:
        ConfigError: it is none; the message shows `example`.
    """
    path, sign, value = change.partition("=")
    if not (sign and path):
        raise ConfigError(f"--set takes PATH=VALUE, such as {example}. Got '{change}'.")
    return path, value


def _replaced_inside(old: object, path: str, value: object) -> object:
    """Returns `old`, a config or a tuple of configs, with the option at `path` replaced."""
    if isinstance(old, Config):
        return old.replaced(path, value)
    number, _, rest = path.partition(".")
    if isinstance(old, tuple) and number.isdigit() and rest:
        items = list(typing.cast("tuple[object, ...]", old))
        if int(number) < len(items):
            items[int(number)] = _replaced_inside(items[int(number)], rest, value)
            return tuple(items)
        raise ConfigError(f"There are only {len(items)} entries, counted from 0. Got '{path}'.")
    raise ConfigError(f"There is no option at '{path}'; options of a list are named like '0.name'.")


def coerce(value: object, hint: object, name: str) -> object:
    """Returns `value` as the type `hint`; text is parsed, as from a command line.

    Raises:
        ConfigError: the value cannot be read as this type.
    """
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    if value is None or (value == "none" and type(None) in options and str not in options):
        if type(None) in options:
            return None
        raise ConfigError(f"`{name}` needs a value. Got nothing.")
    for option in options:
        fits, result = _try_coerce(value, option, name)
        if fits:
            return result
    raise ConfigError(f"`{name}` must be {_spell(options)}. Got {value!r}.")


def _try_coerce(value: object, option: object, name: str) -> tuple[bool, object]:
    origin = typing.get_origin(option)
    if origin is typing.Literal:
        return value in typing.get_args(option), value
    if origin in (tuple, list):
        return _try_sequence(value, option, name)
    if isinstance(option, type) and issubclass(option, Config):
        if isinstance(value, Mapping):
            return True, option.from_dict(typing.cast("object", value))
        return isinstance(value, option), value
    if isinstance(value, str) and option in (int, float, bool):
        return _parse(value, typing.cast("type", option))
    if option is float and isinstance(value, int) and not isinstance(value, bool):
        return _parse(value, float)
    if option is int and isinstance(value, bool):
        return False, None
    return (isinstance(option, type) and isinstance(value, option)), value


def _try_sequence(value: object, option: object, name: str) -> tuple[bool, object]:
    if isinstance(value, str):
        value = [part for part in value.strip("[]() ").split(",") if part]
    if not isinstance(value, list | tuple):
        return False, None
    items = typing.cast("list[object]", list(value))
    inner = typing.get_args(option)
    hints = [inner[0]] * len(items) if inner[-1] is Ellipsis or len(inner) == 1 else list(inner)
    if len(hints) != len(items):
        return False, None
    made = [coerce(item, hint, name) for item, hint in zip(items, hints, strict=True)]
    return True, tuple(made) if typing.get_origin(option) is tuple else made


def _parse(told: str | int, kind: type) -> tuple[bool, object]:
    if kind is bool:
        known = {"true": True, "false": False, "1": True, "0": False}
        return str(told).lower() in known, known.get(str(told).lower())
    try:
        return True, kind(told)
    except (ValueError, OverflowError):  # a whole number may be too large for a float
        return False, None


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _spell(options: tuple[object, ...]) -> str:
    words: list[str] = []
    for option in options:
        if typing.get_origin(option) is typing.Literal:
            words.append("one of " + ", ".join(repr(arg) for arg in typing.get_args(option)))
        else:
            name = getattr(option, "__name__", str(option))
            words.append("none" if option is type(None) else name)
    return " or ".join(words)


def _plain(value: object) -> PlainTree:
    if isinstance(value, Mapping):
        items = typing.cast("Mapping[str, object]", value).items()
        return {key: _plain(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in typing.cast("list[object]", value)]
    return typing.cast("Plain", value)


def _required(owner: type[Config]) -> list[str]:
    """Returns the options that have no default."""
    return [
        field.name
        for field in dataclasses.fields(owner)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def _unknown_option(owner: str, name: str, known: list[str]) -> ConfigError:
    hint = suggestion(name, known) or f" Known: {', '.join(sorted(known))}."
    return ConfigError(f"{owner} has no option '{name}'.{hint}")
