"""A class is built or subclassed, never both."""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from typing import Protocol

import armt


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "armt"


def _classes() -> set[type]:
    """All classes of armt, found by importing every module whose libraries are installed."""
    found: set[type] = set()
    for info in pkgutil.walk_packages(armt.__path__, "armt."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("armt"):
                raise
            continue
        found |= {cls for cls in vars(module).values() if inspect.isclass(cls) and _is_ours(cls)}
    return found


def _may_have_subclasses(cls: type) -> bool:
    """Abstract by its methods, declared abstract by a direct base, or an exception."""
    return (
        inspect.isabstract(cls)
        or ABC in cls.__bases__
        or Protocol in cls.__bases__
        or issubclass(cls, BaseException)
    )


def _wrong_parents(cls: type) -> set[type]:
    ours = {parent for parent in cls.__mro__[1:] if _is_ours(parent)}
    return {parent for parent in ours if not _may_have_subclasses(parent)}


def test_only_abstract_classes_have_subclasses():
    wrong = {cls.__qualname__: _wrong_parents(cls) for cls in _classes() if _wrong_parents(cls)}
    assert not wrong, f"Make the parents abstract (ABC), or hold them instead: {wrong}"


def test_final_classes_are_not_subclassed():
    wrong = {
        cls.__qualname__: parent.__qualname__
        for cls in _classes()
        for parent in cls.__mro__[1:]
        if _is_ours(parent) and vars(parent).get("__final__", False)
    }
    assert not wrong, f"These inherit from a class marked @final: {wrong}"


class Marker(ABC):
    pass


class Contract(ABC):
    @abstractmethod
    def build(self) -> None: ...


class Built:
    pass


def test_the_rule_tells_abstract_from_built():
    assert _may_have_subclasses(Marker)
    assert _may_have_subclasses(Contract)
    assert _may_have_subclasses(type("Mistake", (ValueError,), {}))
    assert not _may_have_subclasses(Built)
    assert not _may_have_subclasses(type("Filled", (Contract,), {"build": lambda self: None}))
