"""How BABILong judges an output: by its official rules, and by whole words.

Both read the first sentence of the output: lower-cased, cut at the first full stop, then at the
first `<context>`, then at the first `<example>`. The labels of the task that occur in it and not in
the question are what the output says. It must say the answer and nothing else; if the answer is a
list (it holds a comma and more than three characters), exactly its parts, in any order.

The two differ in what it means that a label occurs. By the official rules it is a part of the text,
so that `know` says `no`, `cats` says `cat`, and `none` says `one`, for which reason no output is
ever right where the answer of qa7 is `none`. By the strict rules it is a whole word, with no letter
or digit on either side. In qa19 a label such as `n,e` is one word: a blank after its comma makes it
wrong by both rules.
"""

from functools import cache, lru_cache

from armt.tasks.babi.catalogue import babi_task

Text = str | float | None
"""A text, or what a table gives back for an empty one (NaN or nothing), which counts as empty."""

_CUTS = (".", "<context>", "<example>")
_MIN_LIST_LEN = 4
_NUM_QUESTIONS_KEPT = 1 << 16


def reference_score(task: str, target: Text, output: Text, question: Text) -> bool:
    """Judges an output exactly as the official rules do, their defects included.

    Args:
        task: such as `qa1`; decides the labels.
        target: the right answer; the parts of a list are joined by commas.
        output: what was said.
        question: the question asked.

    Raises:
        UnknownNameError: there is no such task.

    Reference:
        Kuratov et al., BABILong (arXiv:2406.10149), the metric of the authors' repository.
    """
    said = first_sentence(output)
    asked = _labels_inside(task, _text(question))
    found = [label for label in _labels(task) if label in said and label not in asked]
    wanted = _text(target)
    if _is_list(wanted):
        parts = wanted.split(",")
        return len(found) == len(parts) and all(part in found for part in parts)
    return len(found) == 1 and found[0] == wanted


def strict_score(task: str, target: Text, output: Text, question: Text) -> bool:
    """Judges an output by the official rules with labels that must be whole words.

    The parts of a list are compared as sets, white space around them aside.

    Args:
        task: such as `qa1`; decides the labels.
        target: the right answer; the parts of a list are joined by commas.
        output: what was said.
        question: the question asked.

    Raises:
        UnknownNameError: there is no such task.
    """
    said = first_sentence(output)
    asked = _words_inside(task, _text(question))
    inside = [label for label in _labels(task) if label in said and label not in asked]
    found = [label for label in inside if _has_word(said, label)]
    wanted = _text(target).strip()
    if _is_list(wanted):
        return set(found) == {part.strip() for part in wanted.split(",")}
    return len(found) == 1 and found[0] == wanted


def first_sentence(output: Text) -> str:
    """Returns the part of an output that is judged, in lower case."""
    said = _text(output)
    for cut in _CUTS:
        said = said.partition(cut)[0]
    return said


@cache
def _labels(task: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.lower() for label in babi_task(task).labels))


@lru_cache(maxsize=_NUM_QUESTIONS_KEPT)
def _labels_inside(task: str, question: str) -> frozenset[str]:
    return frozenset(label for label in _labels(task) if label in question)


@lru_cache(maxsize=_NUM_QUESTIONS_KEPT)
def _words_inside(task: str, question: str) -> frozenset[str]:
    return frozenset(label for label in _labels(task) if _has_word(question, label))


def _has_word(text: str, word: str) -> bool:
    """Says whether `word` stands in `text` with no letter or digit on either side."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return True
        start = text.find(word, start + 1)
    return False


def _text(value: Text) -> str:
    return value.lower() if isinstance(value, str) else ""


def _is_list(target: str) -> bool:
    return len(target) >= _MIN_LIST_LEN and "," in target
