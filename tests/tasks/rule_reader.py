"""An independent reader of task 1: it knows the text alone, not how it was made."""

import re
from typing import NamedTuple

FACT = re.compile(
    r"(Mary|John|Daniel|Sandra) (?:went back|went|journeyed|travelled|moved) to the (\w+)\."
)
ASKED = re.compile(r"Where is (\w+)\? ")
ANSWERED = re.compile(r"Where is (\w+)\? ?GEN(\w+)<\|endoftext\|>")


class Reading(NamedTuple):
    """What a text tells and asks, in order."""

    facts: list[tuple[str, str]]
    right: int
    wrong: list[str]


def latest_place(facts: list[str], question: str) -> tuple[str, int]:
    """Answers a question from facts; also says which fact decides."""
    asked = ASKED.match(question)
    assert asked is not None, question
    for index in reversed(range(len(facts))):
        told = FACT.fullmatch(facts[index])
        assert told is not None, facts[index]
        if told[1] == asked[1]:
            return told[2], index
    raise AssertionError(f"Nothing is told of {asked[1]}.")


def read_text(text: str) -> Reading:
    """Reads a text with facts and answered questions and checks each answer."""
    places: dict[str, str] = {}
    facts: list[tuple[str, str]] = []
    right, wrong = 0, []
    events = [
        (match.start(), match) for pattern in (FACT, ANSWERED) for match in pattern.finditer(text)
    ]
    for _, match in sorted(events, key=lambda event: event[0]):
        if match.re is FACT:
            facts.append((match[1], match[2]))
            places[match[1]] = match[2]
        elif places.get(match[1]) == match[2]:
            right += 1
        else:
            wrong.append(match[0])
    return Reading(facts, right, wrong)
