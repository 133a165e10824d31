"""Names of lengths: 4k is 4,000 tokens, 1M a million."""

import re

from armt.core.errors import ConfigError

LENGTH_NAMES = (
    "0k", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "10M", "50M",
)  # fmt: skip
"""The usual rows of a BABILong table."""

_FACTORS = {"": 1, "k": 1000, "m": 1_000_000, "b": 1_000_000_000}


def parse_length(length: str | int) -> int:
    """Returns the tokens of a length such as `16k`, `1M` or `700`; k is 1000, not 1024.

    Raises:
        ConfigError: the length is negative or cannot be read.
    """
    match = re.fullmatch(r"(\d+)([kmb]?)", str(length).strip().lower())
    if match is None:
        raise ConfigError(f"A length is a number, with k, M or B if need be. Got {length!r}.")
    return int(match[1]) * _FACTORS[match[2]]


def length_name(num_tokens: int) -> str:
    """Returns the short name of a length; `parse_length` reads it back."""
    if num_tokens == 0:
        return "0k"
    for suffix, factor in (("B", 10**9), ("M", 10**6), ("k", 1000)):
        if num_tokens % factor == 0:
            return f"{num_tokens // factor}{suffix}"
    return str(num_tokens)
