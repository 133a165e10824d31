"""Names of lengths: 4k is 4,000 tokens, 1M a million.

A length is always nominal: of it a reserve for the prompt is taken off before facts and background
are laid out (`BabilongTaskConfig.reserve_len`, 300 in the published benchmark, so that `1k` is a
context of 700 tokens). It makes no difference whether it is given as a name or as a number.
"""

import re

from armt.core.errors import ConfigError

LENGTH_NAMES = (
    "0k", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M", "10M",
    "50M", "100M", "1B",
)  # fmt: skip
"""The usual rows of a BABILong table."""

RESERVE_LEN = 300
"""Tokens that the published benchmark reserves for the prompt."""

_FACTORS = {"": 1, "k": 1000, "m": 1_000_000, "b": 1_000_000_000}


def parse_length(length: str | int) -> int:
    """Returns the tokens of a length such as `16k`, `1M` or `700`; k is 1000, not 1024.

    Raises:
        ConfigError: the length is negative or cannot be read.
    """
    match = re.fullmatch(r"([0-9]+)([kmb]?)", str(length).strip().lower())
    if match is None:
        raise ConfigError(
            "A length is a number, with k, M or B if need be, such as 700, 16k or 10M. "
            f"Got {length!r}."
        )
    return int(match[1]) * _FACTORS[match[2]]


def context_budget(length: str | int, reserve_len: int = RESERVE_LEN) -> int:
    """Returns the tokens of facts and background together: the length less the reserve.

    Length 0 stays 0: the facts alone.

    Raises:
        ConfigError: the length cannot be read, or the reserve leaves nothing of it.
    """
    num_tokens = parse_length(length)
    if 0 < num_tokens <= reserve_len:
        raise ConfigError(
            f"A length of {num_tokens} leaves nothing after the reserve of {reserve_len} tokens. "
            "Ask for a longer one, for 0k (the facts alone), or set `reserve_len=0`."
        )
    return num_tokens and num_tokens - reserve_len


def length_name(num_tokens: int) -> str:
    """Returns the short name of a length; `parse_length` reads it back."""
    if num_tokens == 0:
        return "0k"
    for suffix, factor in (("B", 10**9), ("M", 10**6), ("k", 1000)):
        if num_tokens % factor == 0:
            return f"{num_tokens // factor}{suffix}"
    return str(num_tokens)
