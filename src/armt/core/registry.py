"""Names and cards: what is registered once is listed, tested and documented everywhere."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from armt.core.config import MemoryConfig
from armt.core.contract import Memory
from armt.core.errors import ConfigError, UnknownNameError, suggestion

EntryT = TypeVar("EntryT")


@dataclass(frozen=True, kw_only=True)
class Card(Generic[EntryT]):
    """What the library knows of one registered thing."""

    name: str
    """The name it is asked for by."""

    entry: EntryT
    """The class or function."""

    paper: str = "none"
    """Where it was published, such as `arXiv:2407.04841`."""

    tiny: MemoryConfig | None = None
    """A config small enough for tests (memories only)."""

    @property
    def summary(self) -> str:
        """The first line of the entry's docstring."""
        return (inspect.getdoc(self.entry) or "").split("\n", maxsplit=1)[0]

    @property
    def config(self) -> MemoryConfig:
        """The card's config, for a memory that must have one.

        Raises:
            ConfigError: the card has no config.
        """
        if self.tiny is None:
            raise ConfigError(
                f"The card of memory '{self.name}' has no config. Register it with `tiny=`."
            )
        return self.tiny

    @property
    def config_class(self) -> type[MemoryConfig]:
        """The class of the memory's config.

        Raises:
            ConfigError: the card has no config.
        """
        return type(self.config)


class Registry(Generic[EntryT]):
    """A map from names to cards, filled by the modules of one package when it is first asked."""

    def __init__(self, kind: str, package: str) -> None:
        """Makes an empty registry of `kind` whose entries live in the modules of `package`."""
        self.kind = kind
        self._package = package
        self._cards: dict[str, Card[EntryT]] = {}
        self._is_loaded = False

    def register(
        self, name: str, *, paper: str = "none", tiny: MemoryConfig | None = None
    ) -> Callable[[EntryT], EntryT]:
        """Returns a decorator that registers a class or function under `name`.

        Raises:
            ConfigError: the name is taken by something else.
        """

        def add(entry: EntryT) -> EntryT:
            known = self._cards.get(name)
            if known is not None and _source(known.entry) != _source(entry):
                raise ConfigError(
                    f"The {self.kind} name '{name}' is taken by {_source(known.entry)}. "
                    "Choose another name."
                )
            self._cards[name] = Card(name=name, entry=entry, paper=paper, tiny=tiny)
            return entry

        return add

    def __getitem__(self, name: str) -> Card[EntryT]:
        """Returns the card of `name`.

        Raises:
            UnknownNameError: nothing has this name; near ones are suggested.
        """
        self._load()
        if name not in self._cards:
            known = ", ".join(sorted(self._cards))
            hint = suggestion(name, self._cards)
            raise UnknownNameError(f"Unknown {self.kind} '{name}'.{hint} Known: {known}.")
        return self._cards[name]

    def __iter__(self) -> Iterator[Card[EntryT]]:
        """Iterates over the cards, sorted by name."""
        self._load()
        return iter([self._cards[name] for name in sorted(self._cards)])

    def name_of(self, entry: object) -> str:
        """Returns the name under which `entry` is registered."""
        self._load()
        for card in self._cards.values():
            if card.entry is entry:
                return card.name
        raise UnknownNameError(
            f"{entry!r} is not a registered {self.kind}. Register it with a name first."
        )

    def _load(self) -> None:
        """Imports every module of the package once, so that each registers itself."""
        if self._is_loaded:
            return
        self._is_loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            _ = importlib.import_module(f"{self._package}.{module.name}")


def _source(entry: object) -> str:
    return f"{getattr(entry, '__module__', '?')}.{getattr(entry, '__qualname__', entry)}"


MEMORIES: Registry[type[Memory[Any]]] = Registry("memory", "armt.memories")
"""Every mechanism of the library; a file in `armt.memories` adds itself."""
