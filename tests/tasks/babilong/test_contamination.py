import numpy as np

from armt.tasks.babi.dice import Dice
from armt.tasks.babilong import Book, ReferenceWalk, build_store
from armt.tasks.babilong.contamination import fact_like_sentences

PLAIN = "The rain had fallen upon the long grey road since the early morning of that day."
NAMED = "Nobody knew why Mary had kept the old letters for so very many years after it."
PLACED = "They sat down in the kitchen and spoke of nothing but the weather until evening."
BOTH = "It was long since John had been seen in the garden with his brother and the dog."
CARRIED = "Yann had taken the football from the other boys and hidden it behind the old wall."


def test_sentences_like_facts_are_counted_and_left_out(encoder):
    book = Book("novel", " ".join([PLAIN, NAMED, BOTH, PLACED, CARRIED, PLAIN] * 5))
    store = build_store([book], encoder, splitter="punkt")
    found = fact_like_sentences(store, encoder)
    assert found.tolist() == sorted(np.concatenate([[6 * n + 2, 6 * n + 4] for n in range(5)]))
    walk = ReferenceWalk(store, Dice(0), left_out=found)
    text = encoder.decode(walk.take(4000).tokens)
    assert NAMED in text
    assert PLACED in text
    assert BOTH not in text
    assert CARRIED not in text
    own = fact_like_sentences(store, encoder, people=["Yann"], things=["football"])
    assert own.tolist() == [6 * n + 4 for n in range(5)]
