import pytest

from armt.core.errors import ConfigError, UnknownNameError
from armt.core.registry import MEMORIES, Registry
from armt.memories.armt import ARMT, ARMTConfig
from armt.recipes.registry import RECIPES


def made() -> Registry:
    registry = Registry("dish", "armt.core")

    @registry.register("soup", paper="arXiv:0000.00000")
    def soup():
        """Warm and liquid.

        With a spoon.
        """

    @registry.register("salad")
    def salad():
        pass

    return registry


@pytest.mark.parametrize(
    ("registry", "name", "said"),
    [
        (MEMORIES, "amrt", "Unknown memory 'amrt'. Did you mean 'armt'? Known: armt, "),
        (RECIPES, "smok", "Unknown recipe 'smok'. Did you mean 'smoke'?"),
        (made(), "bread", "Unknown dish 'bread'. Known: salad, soup."),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(registry, name, said):
    with pytest.raises(UnknownNameError) as caught:
        _ = registry[name]
    assert str(caught.value).startswith(said)


def test_cards_tell_what_is_known():
    cards = list(made())
    assert [card.name for card in cards] == ["salad", "soup"]
    assert [card.paper for card in cards] == ["none", "arXiv:0000.00000"]
    assert [card.summary for card in cards] == ["", "Warm and liquid."]


def test_a_package_fills_its_registry_when_first_asked():
    assert {"armt_babilong_qa1", "armt_retrieval", "smoke"} <= {card.name for card in RECIPES}
    assert MEMORIES["armt"].entry is ARMT
    assert MEMORIES.name_of(ARMT) == "armt"


def test_a_name_is_taken_once():
    registry = made()
    with pytest.raises(ConfigError, match="The dish name 'soup' is taken by"):
        _ = registry.register("soup")(lambda: None)
    assert registry["soup"].summary == "Warm and liquid."


def test_the_same_thing_may_be_registered_again():
    registry = made()
    entry = registry["soup"].entry
    assert registry.register("soup")(entry) is entry


def test_a_thing_without_a_name_is_told():
    with pytest.raises(UnknownNameError, match="not a registered dish"):
        _ = made().name_of(object())


def test_a_card_tells_the_class_of_its_config():
    assert MEMORIES["armt"].config_class is ARMTConfig
    with pytest.raises(ConfigError, match="memory 'smoke' has no config"):
        _ = RECIPES["smoke"].config_class
