import pytest

from armt.core.errors import ConfigError
from armt.tasks.babilong import LENGTH_NAMES, length_name, parse_length
from armt.tasks.babilong.lengths import context_budget


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("0k", 0), ("1k", 1000), ("128k", 128_000), ("1M", 10**6), ("50m", 5 * 10**7),
        ("1B", 10**9), ("700", 700), (3, 3),
    ],
)  # fmt: skip
def test_names_are_read(name, tokens):
    assert parse_length(name) == tokens


def test_names_come_back():
    assert [length_name(parse_length(name)) for name in LENGTH_NAMES] == list(LENGTH_NAMES)
    assert length_name(1234) == "1234"


@pytest.mark.parametrize("length", ["", "k", "-1k", "1.5M", "long", "²", -3])
def test_what_is_no_length_is_refused(length):
    with pytest.raises(ConfigError, match="Got"):
        _ = parse_length(length)


@pytest.mark.parametrize(
    ("length", "budget"), [("0k", 0), ("1k", 700), (1000, 700), ("1M", 999_700), (301, 1)]
)
def test_the_reserve_is_taken_off_a_length(length, budget):
    assert context_budget(length) == budget
    assert context_budget(length, 0) == parse_length(length)


@pytest.mark.parametrize("length", [1, 300, "300"])
def test_a_length_within_the_reserve_is_refused(length):
    with pytest.raises(ConfigError, match="leaves nothing after the reserve of 300 tokens"):
        _ = context_budget(length)
