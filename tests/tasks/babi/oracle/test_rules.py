"""Each rule by stories small enough to answer in the head."""

import pytest

from armt.core.errors import DataError, UnknownNameError
from armt.tasks.babi.oracle import answer_from

CASES = [
    ("qa1", "Mary went to the office. John moved to the garden. Mary went back to the kitchen.",
     "Where is Mary? ", "kitchen", (2,)),
    ("qa2", "Mary got the milk there. John went to the office. Mary moved to the garden.",
     "Where is the milk? ", "garden", (0, 2)),
    ("qa2", "Mary moved to the garden. Mary took the milk there. Mary left the milk there. "
            "Mary went to the office.", "Where is the milk? ", "garden", (2, 0)),
    ("qa3", "Mary took the milk. Mary went to the office. Mary went to the garden. "
            "Mary dropped the milk.", "Where was the milk before the garden? ", "office",
     (3, 2, 1)),
    ("qa3", "John took the milk. John moved to the kitchen. John moved to the garden. "
            "John moved to the office. John moved to the garden.",
     "Where was the milk before the garden? ", "office", (0, 4, 3)),
    ("qa3", "John moved to the kitchen. John took the milk. John moved to the garden. "
            "John left the milk. Mary moved to the garden. Mary took the milk.",
     "Where was the milk before the garden? ", "kitchen", (5, 2, 0)),
    ("qa4", "The office is north of the kitchen. The garden is south of the kitchen.",
     "What is north of the kitchen?", "office", (0,)),
    ("qa4", "The office is north of the kitchen. The garden is south of the kitchen.",
     "What is the garden south of?", "kitchen", (1,)),
    ("qa4", "The office is east of the kitchen. The garden is west of the kitchen.",
     "What is west of the office?", "kitchen", (0,)),
    ("qa4", "The office is east of the kitchen. The garden is west of the kitchen.",
     "What is the kitchen east of?", "garden", (1,)),
    ("qa5", "Bill gave the milk to Fred. Fred handed the milk to Mary.",
     "Who gave the milk to Fred? ", "Bill", (0,)),
    ("qa5", "Bill gave the milk to Fred. Fred handed the milk to Mary.",
     "Who gave the milk? ", "Fred", (1,)),
    ("qa5", "Bill gave the milk to Fred. Fred handed the milk to Mary.",
     "Who received the milk? ", "Mary", (1,)),
    ("qa5", "Bill gave the milk to Fred. Bill handed the apple to Mary.",
     "Who did Bill give the milk to? ", "Fred", (0,)),
    ("qa5", "Bill gave the milk to Fred. Fred gave the milk to Bill. Bill gave the apple to Fred.",
     "What did Bill give to Fred? ", "apple", (2,)),
    ("qa6", "Mary went to the office. Mary got the milk there.", "Is Mary in the office? ",
     "yes", (0,)),
    ("qa6", "Mary went to the office. Mary got the milk there.", "Is Mary in the garden? ",
     "no", (0,)),
    ("qa7", "Mary got the milk there. John got the apple there. John gave the apple to Mary.",
     "How many objects is Mary carrying? ", "two", (0, 2)),
    ("qa7", "Mary got the milk there. Mary gave the milk to John.",
     "How many objects is Mary carrying? ", "none", (0, 1)),
    ("qa8", "Mary got the milk there. Mary got the apple there. Mary left the milk.",
     "What is Mary carrying? ", "apple", (0, 2, 1)),
    ("qa8", "Mary got the milk there. Mary left the milk.", "What is Mary carrying? ", "nothing",
     (0, 1)),
    ("qa8", "Mary got the milk there. Mary got the apple there. Mary left the milk. "
            "Mary took the milk there.", "What is Mary carrying? ", "milk,apple", (0, 2, 3, 1)),
    ("qa9", "Mary is in the office. Mary is no longer in the office.", "Is Mary in the office? ",
     "no", (1,)),
    ("qa9", "Mary is not in the office. Mary is in the garden.", "Is Mary in the garden? ",
     "yes", (1,)),
    ("qa9", "Mary is in the garden.", "Is Mary in the office? ", "no", (0,)),
    ("qa10", "Bill is either in the park or the school.", "Is Bill in the school? ", "maybe",
     (0,)),
    ("qa10", "Bill is either in the park or the school.", "Is Bill in the cinema? ", "no", (0,)),
    ("qa10", "Bill is either in the park or the park.", "Is Bill in the park? ", "maybe", (0,)),
    ("qa11", "Mary went to the office. Then she moved to the garden. John went to the kitchen.",
     "Where is Mary? ", "garden", (0, 1)),
    ("qa12", "Mary and John went to the office. John and Daniel moved to the garden.",
     "Where is John? ", "garden", (1,)),
    ("qa13", "Mary and John went to the office. After that they moved to the garden.",
     "Where is John? ", "garden", (0, 1)),
    ("qa14", "This evening Bill went to the park. Bill went to the school yesterday. "
             "Bill moved to the cinema this morning.", "Where was Bill before the park? ",
     "cinema", (0, 2)),
    ("qa14", "Bill went to the park yesterday. This morning Bill went to the school. "
             "Bill went back to the park this afternoon.", "Where was Bill before the park? ",
     "school", (2, 1)),
    ("qa15", "Mice are afraid of wolves. Emily is a mouse. Wolves are afraid of cats.",
     "What is emily afraid of?", "wolf", (1, 0)),
    ("qa16", "Lily is a swan. Brian is a swan. Lily is gray. Greg is a swan. Greg is white.",
     "What color is Brian?", "white", (1, 3, 4)),
    ("qa17", "The triangle is above the blue square. The red sphere is to the left of the "
             "triangle.", "Is the red sphere above the blue square?", "yes", (1, 0)),
    ("qa17", "The triangle is above the blue square. The red sphere is above the triangle.",
     "Is the blue square to the left of the red sphere?", "no", (0, 1)),
    ("qa18", "The box is bigger than the chest. The chocolate fits inside the chest.",
     "Does the chocolate fit in the box?", "yes", (0, 1)),
    ("qa18", "The box is bigger than the chest. The chocolate fits inside the chest. "
             "The chocolate fits inside the box.", "Is the chocolate bigger than the box?", "no",
     (1, 0)),
    ("qa19", "The garden is north of the office. The kitchen is east of the garden.",
     "How do you go from the office to the kitchen?", "n,e", (0, 1)),
    ("qa20", "Yann is thirsty. Yann went to the kitchen.", "Where will yann go?", "kitchen",
     (0,)),
    ("qa20", "Yann is tired. Yann took the pajamas there.", "Why did yann get the pajamas?",
     "tired", (0,)),
]  # fmt: skip


def told(text: str) -> list[str]:
    return [f"{sentence}." for sentence in text.rstrip(".").split(". ")]


@pytest.mark.parametrize(("task", "text", "question", "answer", "supporting"), CASES)
def test_a_rule_gives_answer_and_support(task, text, question, answer, supporting):
    assert answer_from(task, told(text), question) == (answer, supporting)


@pytest.mark.parametrize("task", [f"qa{number}" for number in range(1, 21)])
def test_every_task_has_a_case(task):
    assert task in [case[0] for case in CASES]


@pytest.mark.parametrize(
    ("task", "text", "question", "message"),
    [
        ("qa1", "John went to the office.", "Where is Mary?", "no place of Mary is told"),
        ("qa2", "John went to the office.", "Where is the milk?", "nobody is told to have"),
        ("qa2", "John got the milk.", "Where is the milk?", "no place of John is told"),
        ("qa2", "John got the milk. John left the milk. John went to the office.",
         "Where is the milk?", "no place of John is told"),
        ("qa3", "John got the milk. John went to the office.",
         "Where was the milk before the office?", "is not told to come to the office"),
        ("qa4", "The office is north of the garden.", "What is east of the garden?", "no place"),
        ("qa5", "Bill got the milk.", "Who gave the milk?", "no such gift is told"),
        ("qa7", "John got the milk.", "How many objects is Mary carrying?", "nothing is told"),
        ("qa9", "John is not in the office.", "Is John in the garden?", "only known not to be"),
        ("qa11", "Then he went to the office.", "Where is John?", "fact 1 does not say who"),
        ("qa14", "Yesterday Bill went to the park.", "Where was Bill before the park?",
         "is not told to come to the park"),
        ("qa15", "Emily is a mouse.", "What is emily afraid of?", "what a mouse is afraid of"),
        ("qa15", "Mice are afraid of cats.", "What is emily afraid of?", "what Emily is"),
        ("qa16", "Lily is a swan. Greg is a frog. Greg is gray.", "What color is Lily?",
         "no color of a swan"),
        ("qa17", "The triangle is above the red square.", "Is the triangle below the red sphere?",
         "no chain of facts"),
        ("qa18", "The box is bigger than the chest.", "Does the box fit in the suitcase?",
         "are not linked"),
        ("qa19", "The office is east of the garden.",
         "How do you go from the office to the kitchen?", "no chain of facts"),
        ("qa20", "Yann went to the kitchen.", "Why did yann go to the kitchen?", "what Yann is"),
    ],
)  # fmt: skip
def test_what_the_facts_do_not_tell_is_no_answer(task, text, question, message):
    with pytest.raises(DataError, match=f"do not answer the question: .*{message}"):
        _ = answer_from(task, told(text), question)


def test_sentences_of_another_task_are_named():
    facts = ["Mary went to the office.", "Mary got the milk there."]
    with pytest.raises(DataError, match=r"fact 'Mary got the milk there\.' has no form"):
        _ = answer_from("qa1", facts, "Where is Mary?")
    with pytest.raises(DataError, match=r"question 'Where was Mary\?' has no form"):
        _ = answer_from("qa1", facts[:1], "Where was Mary?")
    with pytest.raises(UnknownNameError, match=r"'qa21'. Did you mean"):
        _ = answer_from("qa21", facts, "Where is Mary?")


def test_a_gift_long_past_gives_way_to_a_fresh_one():
    between = ["Jeff went to the garden."] * 4
    facts = ["Bill gave the milk to Fred.", *between, "Bill gave the apple to Fred."]
    asked = "What did Bill give to Fred?"
    assert answer_from("qa5", facts, asked) == ("apple", (5,))
    assert answer_from("qa5", facts[:1] + facts[2:], asked) == ("milk", (0,))
