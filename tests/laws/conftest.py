"""The memories under the laws: every card that has a config small enough for tests."""

from dataclasses import dataclass

import pytest

from armt import Recurrent
from armt.core.config import MemoryConfig
from armt.core.registry import MEMORIES
from tiny import recurrent


@dataclass(frozen=True)
class Subject:
    """One memory under the laws."""

    name: str
    config: MemoryConfig

    @property
    def has_state(self) -> bool:
        """Whether it remembers anything at all; only the memory `none` does not."""
        return self.name != "none"

    @property
    def is_trained(self) -> bool:
        """Whether it has anything to learn."""
        return any(True for _ in self.model().memory.parameters())

    @property
    def carries_gradients(self) -> bool:
        """Whether a loss reaches the segments before through the state."""
        mechanisms = self.model().memory.mechanisms
        return self.has_state and all(memory.is_differentiable for memory in mechanisms)

    def model(self, **options) -> Recurrent:
        """A tiny model that carries it, with random weights."""
        return recurrent(self.config, **options)


SUBJECTS = [Subject(card.name, card.tiny) for card in MEMORIES if card.tiny is not None]


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request) -> Subject:
    return request.param


@pytest.fixture
def model(subject) -> Recurrent:
    return subject.model()
