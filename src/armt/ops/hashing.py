"""Numbers that look random and are the same on every device: hashes of numbers."""

from armt.core.shapes import Int, Tensor

NUM_VALUES = 1 << 32
"""How many values a hash may take, from 0 on."""

_MASK = NUM_VALUES - 1


def hashed(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Returns 32 bits that look random for each number; different numbers give different bits.

    It is the hash "lowbias32" of Wellons, on 64-bit integers of which the lower half counts.
    """
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
