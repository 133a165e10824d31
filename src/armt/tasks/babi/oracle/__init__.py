"""Rule readers: answers and supporting facts of all twenty tasks from the text alone.

They know the rules of the tasks and nothing of how a story was drawn, so they check generators,
bound what a model can reach, and tell facts from prose.
"""

from armt.tasks.babi.oracle.knowledge import Reading
from armt.tasks.babi.oracle.reader import FoundFact, answer_from, find_facts

__all__ = ["FoundFact", "Reading", "answer_from", "find_facts"]
