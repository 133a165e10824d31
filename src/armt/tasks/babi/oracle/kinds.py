"""What kind people are and what follows from it (tasks 15, 16 and 20)."""

from collections.abc import Sequence

from armt.tasks.babi.oracle.grammar import Told
from armt.tasks.babi.oracle.knowledge import Reading, unanswered

_SINGULAR = {"cats": "cat", "mice": "mouse", "sheep": "sheep", "wolves": "wolf"}
_GOES_TO = {"hungry": "kitchen", "thirsty": "kitchen", "bored": "garden", "tired": "bedroom"}


def afraid_of(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "What is p afraid of?" by the kind of p."""
    person = asked.parts[0].capitalize()
    kind, is_a = _latest("is a", person, facts)
    for line, told in enumerate(facts):
        if told.form == "afraid" and _SINGULAR[told.parts[0].lower()] == kind:
            return Reading(_SINGULAR[told.parts[1]], (is_a, line))
    raise unanswered(f"it is not told what a {kind} is afraid of")


def color_of(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers "What color is P?" by the last named of the others of P's kind."""
    (person,) = asked.parts
    colors = {told.parts[0]: line for line, told in enumerate(facts) if told.form == "color"}
    if person in colors:
        return Reading(facts[colors[person]].parts[1], (colors[person],))
    kind, is_a = _latest("is a", person, facts)
    for line in reversed(range(len(facts))):
        match facts[line]:
            case Told("is a", (peer, like)) if like == kind and peer in colors:
                return Reading(facts[colors[peer]].parts[1], (is_a, line, colors[peer]))
            case _:
                continue
    raise unanswered(f"no color of a {kind} is told")


def mood_of(facts: Sequence[Told], asked: Told) -> Reading:
    """Answers where p will go, or why p did something, by p's mood."""
    mood, line = _latest("is", asked.parts[0].capitalize(), facts)
    return Reading(_GOES_TO[mood] if asked.form == "where" else mood, (line,))


def _latest(form: str, person: str, facts: Sequence[Told]) -> tuple[str, int]:
    """Returns what a person is said to be, and the fact that says so."""
    for line in reversed(range(len(facts))):
        if facts[line].form == form and facts[line].parts[0] == person:
            return facts[line].parts[1], line
    raise unanswered(f"it is not told what {person} is")
