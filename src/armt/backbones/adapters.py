"""Which of a model's adapters is at work; peft holds their weights and puts them around layers."""

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast, final

from torch import nn

from armt.core.errors import ConfigError, MissingExtraError


class AdapterPair(NamedTuple):
    """Names of two adapters of one model."""

    read: str
    """At work where text is read and generated."""

    write: str
    """At work where the memory is written."""


@final
class AdapterSwitch:
    """Puts one adapter of a model to work for the length of a pass."""

    def __init__(self, model: nn.Module, pair: AdapterPair) -> None:
        """Takes the model and the names."""
        self._model, self._pair = model, pair

    @contextmanager
    def reading(self) -> Generator[None]:
        """Puts the adapter for reading to work; what was there before comes back at the end."""
        with _at_work(self._model, [self._pair.read]):
            yield

    @contextmanager
    def writing(self) -> Generator[None]:
        """Puts the adapter for writing to work; what was there before comes back at the end."""
        with _at_work(self._model, [self._pair.write]):
            yield


def adapter_parameters(model: nn.Module, name: str) -> list[nn.Parameter]:
    """Returns the weights of an adapter.

    Raises:
        ConfigError: the model has no adapter of this name.
        MissingExtraError: peft is not installed.
    """
    layers = list(_adapted(model))
    parts = [
        cast("nn.ModuleDict | nn.ParameterDict", getattr(layer, kind))
        for layer in layers
        for kind in layer.adapter_layer_names
    ]
    found = [part[name] for part in parts if name in part]
    if not found:
        known = sorted({str(each) for part in parts for each in part})
        raise ConfigError(
            f"The model has no adapter '{name}'; it has {', '.join(known) or 'none'}. Add it by "
            "peft's `add_adapter` or `load_adapter`."
        )
    return [
        each
        for item in found
        for each in ([item] if isinstance(item, nn.Parameter) else item.parameters())
    ]


def checkpoint_contexts(
    model: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Returns what a layer is run in, and what it is run in again by the backward pass.

    That is the adapter which is at work when this is called (`context_fn` of
    `torch.utils.checkpoint`), wherever the backward pass comes from.
    """
    return nullcontext(), _at_work(model, next(_adapted(model)).active_adapters)


@contextmanager
def _at_work(model: nn.Module, names: list[str]) -> Generator[None]:
    """Makes adapters the active ones, without peft's say in what is trained.

    peft freezes an adapter that is not active. What froze between forward and backward would get
    no gradient.
    """
    for name in names:
        _ = adapter_parameters(model, name)
    before = [(layer, layer.active_adapters) for layer in _adapted(model)]
    is_trained = [(each, each.requires_grad) for each in model.parameters()]
    try:
        for layer, _ in before:
            layer.set_adapter(names)
        _restore(is_trained)
        yield
    finally:
        for layer, earlier in before:
            layer.set_adapter(earlier)
        _restore(is_trained)


def _restore(is_trained: list[tuple[nn.Parameter, bool]]) -> None:
    for parameter, wanted in is_trained:
        if parameter.requires_grad != wanted:
            _ = parameter.requires_grad_(wanted)


def _adapted(model: nn.Module) -> Iterator[Any]:
    try:
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError as error:
        raise MissingExtraError("Reading and writing with adapters", "peft") from error
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            yield module
