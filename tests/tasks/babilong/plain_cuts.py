"""When a cut's sentences are certain to be those of the whole text."""

MARKS = ".?!"
CLOSING = "\"')]}’”»"


def is_plain_cut(text, start, size):
    """Whether neither end of the cut lies in or next to a word with marks inside."""
    end = min(start + size, len(text))
    is_mark_first = text[start] in MARKS
    return not is_mark_first and is_plain_word(text, start) and is_plain_word(text, end - 1)


def is_plain_word(text, position):
    """Whether the word around `position` holds no mark, or one at its end before closing marks."""
    first = last = position
    while first > 0 and not text[first - 1].isspace():
        first -= 1
    while last < len(text) and not text[last].isspace():
        last += 1
    inner = text[first:last].rstrip(CLOSING)[:-1]
    return not any(mark in inner for mark in MARKS)
