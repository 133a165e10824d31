import pytest

from armt.core.errors import ConfigError
from armt.tasks.babilong import LENGTH_NAMES, length_name, parse_length


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("0k", 0), ("4k", 4000), ("128K", 128_000), ("1M", 10**6), ("2b", 2 * 10**9), (700, 700)],
)
def test_k_is_a_thousand(name, tokens):
    assert parse_length(name) == tokens


def test_names_and_lengths_belong_together():
    assert [length_name(parse_length(name)) for name in LENGTH_NAMES] == list(LENGTH_NAMES)
    assert length_name(1234) == "1234"


@pytest.mark.parametrize("length", ["", "k", "-1", -5, "4 kb", "1.5M"])
def test_other_spellings_are_refused(length):
    with pytest.raises(ConfigError, match="A length is a number"):
        _ = parse_length(length)
