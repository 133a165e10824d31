"""Where the facts stand within the background text."""

import numpy as np
import numpy.typing as npt


def place_uniformly(
    num_gaps: int, num_facts: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Returns the gap of each fact: uniform with replacement over the gaps, sorted.

    There is one gap before each sentence and one after the last. Order is kept, several facts may
    share a gap, and the density is uniform in sentences, not in tokens, as in the reference.
    """
    assert num_gaps > 0, "a text of no sentences still has one gap"
    return np.sort(rng.integers(num_gaps, size=num_facts))
