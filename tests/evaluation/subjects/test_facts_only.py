from dataclasses import replace

import numpy as np
import pytest

from armt.evaluation.subject import About, Answer, Told
from armt.evaluation.subjects.facts_only import FactsOnly, facts_alone
from armt.evaluation.subjects.rules import RulesSubject
from evaluation.text_samples import text_sample

FACTS = (
    ("Mary went to the garden.", True),
    ("John moved to the office.", False),
    ("Mary journeyed to the kitchen.", True),
)
TEXT = f"At first. {FACTS[0][0]}{FACTS[1][0]} And then much later {FACTS[2][0]} The end."


def sample(num_facts=3, **options):
    return text_sample(TEXT, "Where is Mary? ", "kitchen", facts=FACTS[:num_facts], **options)


class Listener:
    """Remembers what it was shown."""

    about = About(
        name="listener",
        category="causal",
        knows_facts=False,
        told={"qa1": Told(hash="p")},
        batch_size=8,
    )
    fingerprint = "f"

    def __init__(self):
        self.groups = []

    def answer(self, samples, arms):
        self.groups.append(list(samples))
        return {"none": [Answer(text=f"{each.index}") for each in samples]}


@pytest.mark.parametrize("num_facts", [0, 1, 2, 3])
def test_nothing_but_the_facts_is_left(num_facts):
    shown = facts_alone(sample(num_facts))
    ids = [*shown.context()]
    text = "".join(chr(token) for token in np.concatenate(ids)) if ids else ""
    assert text == "".join(fact for fact, _ in FACTS[:num_facts])
    assert shown.context_len == len(text)
    assert "".join(shown.text()) == "".join(f" {fact}" for fact, _ in FACTS[:num_facts])
    for fact in shown.facts:
        assert text[fact.start : fact.start + fact.length] == fact.text


def test_the_subject_sees_groups_of_one_length_and_answers_keep_their_order():
    listener = Listener()
    samples = [sample(num_facts, index=index) for index, num_facts in enumerate((3, 2, 3, 2))]
    answers = FactsOnly(listener).answer(samples, ("none",))["none"]
    assert [answer.text for answer in answers] == ["0", "1", "2", "3"]
    assert [[each.index for each in group] for group in listener.groups] == [[0, 2], [1, 3]]


def test_it_is_another_subject_that_was_told_where_the_facts_are():
    subject = FactsOnly(Listener())
    told = replace(Listener.about, name="listener, facts alone", knows_facts=True)
    assert subject.about == told
    assert subject.fingerprint != "f"


def test_the_rules_still_answer():
    (answer,) = FactsOnly(RulesSubject()).answer([sample()], ("none",))["none"]
    assert answer.text == "kitchen"
