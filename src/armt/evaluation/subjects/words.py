"""Texts in pieces that end where words end."""

from collections.abc import Iterable, Iterator

PIECE_NCHARS = 1 << 18
"""About how many characters a piece has."""


def whole_words(pieces: Iterable[str], num_chars: int = PIECE_NCHARS) -> Iterator[str]:
    """Yields the same text in pieces that end before a blank, so that each can be encoded apart.

    Args:
        pieces: the text, cut anywhere.
        num_chars: how many characters a piece has at least, but for the last.
    """
    held: list[str] = []
    num_held = 0
    for piece in pieces:
        held.append(piece)
        num_held += len(piece)
        if num_held < num_chars:
            continue
        text = "".join(held)
        end = text.rfind(" ")
        if end <= 0:  # a single word so far, or one blank before it
            held = [text]
            continue
        yield text[:end]
        held, num_held = [text[end:]], len(text) - end
    if num_held:
        yield "".join(held)
