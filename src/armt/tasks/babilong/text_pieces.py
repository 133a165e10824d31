"""Tokens to text piece by piece, as if they were decoded all at once."""

from collections.abc import Callable, Iterator, Sequence

from armt.tasks.contract import Ids, TextEncoder

_OVERLAP = 16
_MAX_HELD = 64
_BROKEN = "\ufffd"


def decode_pieces(encoder: TextEncoder, pieces: Callable[[], Iterator[Ids]]) -> Iterator[str]:
    """Yields the text of `pieces`; joined, it is `encoder.decode` of all tokens.

    A piece never ends within a character: what its last tokens begin is told with the next piece.
    (Only in a text of nothing but broken characters may one be cut, after many.) The tokens before
    a piece are decoded with it and cut off again, because some decoders treat the beginning of a
    text (its leading blank) in a way of their own.
    """
    before: list[int] = []
    held: list[int] = []
    for piece in pieces():
        held += piece.tolist()
        if not held:
            continue
        cut = len(held) - _num_unfinished(encoder, held)
        if cut:
            yield _text_after(encoder, before, held[:cut])
            before, held = (before + held[:cut])[-_OVERLAP:], held[cut:]
    if held:
        yield _text_after(encoder, before, held)


def _text_after(encoder: TextEncoder, before: Sequence[int], ids: Sequence[int]) -> str:
    if not before:
        return encoder.decode(ids)
    return encoder.decode([*before, *ids])[len(encoder.decode(before)) :]


def _num_unfinished(encoder: TextEncoder, ids: Sequence[int]) -> int:
    """Returns how many of the last tokens may be the beginning of a character.

    A decoder shows the beginning of a character as it shows one that was broken in the text itself,
    so the end is looked for before all of these.
    """
    tail = ids[-_MAX_HELD:]
    return next(
        num_left
        for num_left in range(len(tail) + 1)
        if not encoder.decode(tail[: len(tail) - num_left]).endswith(_BROKEN)
    )
