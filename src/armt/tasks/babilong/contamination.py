"""Background sentences that a reader may take for facts of a task: to count, or to leave out.

Novels say such things as "Mary went into the garden". The reference of BABILong leaves them in, and
so do we unless asked: `ReferenceWalk(..., left_out=fact_like_sentences(store, encoder))`.
"""

from collections.abc import Sequence

import numpy as np

from armt.tasks.babilong.confusers import sentences_with, spellings
from armt.tasks.babilong.splitters import IntArray
from armt.tasks.babilong.store import BackgroundStore
from armt.tasks.contract import TextEncoder

PEOPLE = (
    "Antoine", "Bernhard", "Bill", "Brian", "Daniel", "Emily", "Fred", "Gertrude", "Greg", "Jason",
    "Jeff", "Jessica", "John", "Julie", "Julius", "Lily", "Mary", "Sandra", "Sumit", "Winona",
    "Yann",
)  # fmt: skip
"""Everybody in the twenty tasks."""

THINGS = (
    "apple", "bathroom", "bedroom", "cinema", "football", "garden", "hallway", "kitchen", "milk",
    "office", "pajamas", "park", "school",
)  # fmt: skip
"""The places and objects of the twenty tasks that people go to or carry."""


def fact_like_sentences(
    store: BackgroundStore,
    encoder: TextEncoder,
    people: Sequence[str] = PEOPLE,
    things: Sequence[str] = THINGS,
) -> IntArray:
    """Returns the numbers of the sentences that name both a person and a place or an object.

    Only books that may be read are looked at. A name is found by its tokens at the beginning of a
    sentence, after a blank, and where the tokenizer splits it off; so `Johnson` may be found for
    `John` if its tokens begin with those.
    """
    named, placed = (sentences_with(store, spellings(words, encoder)) for words in (people, things))
    return np.intersect1d(named, placed)
