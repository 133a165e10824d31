import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armt.core.config import Config, coerce
from armt.core.errors import ConfigError
from armt.core.registry import MEMORIES


@dataclass(frozen=True, kw_only=True)
class Wheel(Config):
    """A part."""

    size: int = 3
    name: str = "round"


@dataclass(frozen=True, kw_only=True)
class Cart(Config):
    """A whole with every kind of option."""

    wheel: Wheel
    wheels: tuple[Wheel, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    load: float | None = None
    names: list[str] | None = None
    kind: Literal["hand", "horse"] = "hand"
    is_open: bool = False


@dataclass(frozen=True, kw_only=True)
class Axle(Config):
    """A part that holds a tuple."""

    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Wagon(Config):
    """A whole whose first option is a tuple of parts that hold tuples."""

    axles: tuple[Axle, ...] = (Axle(), Axle(widths=(3,)))


CARTS = st.builds(
    Cart,
    wheel=st.builds(Wheel, size=st.integers(), name=st.text()),
    wheels=st.lists(st.builds(Wheel, size=st.integers()), max_size=3).map(tuple),
    pair=st.tuples(st.integers(), st.floats(allow_nan=False)),
    load=st.none() | st.floats(allow_nan=False),
    names=st.none() | st.lists(st.text(), max_size=2),
    kind=st.sampled_from(["hand", "horse"]),
    is_open=st.booleans(),
)


@given(cart=CARTS)
def test_a_config_survives_a_round_trip(cart):
    assert Cart.from_dict(cart.to_dict()) == cart
    assert Cart.from_dict(json.loads(json.dumps(cart.to_dict()))) == cart


def test_tuples_within_tuples_survive_a_round_trip():
    assert Wagon().to_dict() == {"axles": [{"widths": [1, 2]}, {"widths": [3]}]}
    assert Wagon.from_dict(Wagon().to_dict()) == Wagon()


@pytest.mark.parametrize("name", [card.name for card in MEMORIES])
def test_configs_of_memories_survive_a_round_trip(name):
    config = MEMORIES[name].tiny
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Cart needs `wheel`. Got nothing."),
        ({"wheels": [{}]}, "Cart needs `wheel`. Got wheels."),
        ([], "Cart is made of options by name. Got []."),
        ("wheel", "Cart is made of options by name. Got 'wheel'."),
        (None, "Cart is made of options by name. Got None."),
        ({3: 1}, "Cart has no option '3'."),
        ({"wheel": {}, "wheels": [3]}, "`Cart.wheels` must be Wheel. Got 3."),
        ({"wheel": {}, "kind": ["hand"]}, "one of 'hand', 'horse'. Got ['hand']."),
        ({"wheel": {}, "load": 10**400}, "`Cart.load` must be float or none."),
        ({"wheel": {"siez": 1}}, "Wheel has no option 'siez'. Did you mean 'size'?"),
        ({"wheel": {}, "zzz": 1}, "Known: is_open, kind, load, names, pair, wheel, wheels."),
        ({"wheel": 3}, "`Cart.wheel` must be Wheel. Got 3."),
        ({"wheel": {}, "pair": [1]}, "`Cart.pair` must be tuple"),
        ({"wheel": {}, "pair": ["a", 1]}, "`Cart.pair` must be int. Got 'a'."),
        ({"wheel": {}, "kind": "ox"}, "one of 'hand', 'horse'"),
        ({"wheel": {}, "load": "heavy"}, "must be float or none. Got 'heavy'."),
        ({"wheel": {"size": True}}, "`Wheel.size` must be int. Got True."),
        ({"wheel": {"size": None}}, "`Wheel.size` needs a value"),
    ],
)
def test_mistakes_are_told(options, said):
    with pytest.raises(ConfigError) as caught:
        _ = Cart.from_dict(options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("3", int, 3),
        (3, float, 3.0),
        ("3", float, 3.0),
        ("true", bool, True),
        ("0", bool, False),
        ("none", int | None, None),
        ("none", str | None, "none"),
        ("4", int | None, 4),
        ("1,2", tuple[int, ...], (1, 2)),
        ("[1, 2]", list[int], [1, 2]),
        ("", tuple[int, ...], ()),
        ("a,b", tuple[str, str], ("a", "b")),
        ("1e-3", float, 0.001),
    ],
)
def test_texts_are_read_as_the_type_of_the_option(value, hint, expected):
    found = coerce(value, hint, "option")
    assert found == expected
    assert type(found) is type(expected)


def test_an_option_is_replaced_at_any_depth():
    cart = Cart(wheel=Wheel(), wheels=(Wheel(), Wheel()))
    changed = cart.replaced("wheels.1.size", "5").replaced("wheel.name", "square")
    assert changed == Cart(wheel=Wheel(name="square"), wheels=(Wheel(), Wheel(size=5)))
    assert cart == Cart(wheel=Wheel(), wheels=(Wheel(), Wheel()))
