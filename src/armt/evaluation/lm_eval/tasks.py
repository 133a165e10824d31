"""BABILong, made by our generator, as tasks of the lm-evaluation-harness."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from armt.core.config import PlainTree
from armt.core.errors import ConfigError, DataError
from armt.evaluation.harness import SampleTask
from armt.evaluation.judging import babi_name, judge
from armt.evaluation.lm_eval.adapter import require_lm_eval
from armt.tasks.babilong.lengths import length_name
from armt.tasks.babilong.prompts import PromptBook

if TYPE_CHECKING:
    from lm_eval.api.task import Task

METRICS = ("reference", "strict", "exact")
"""By the official rules of BABILong, by whole words, and letter by letter."""

_VERSION = 1


def lm_eval_task(
    task: SampleTask,
    length: int,
    num_samples: int = 100,
    *,
    prompts: PromptBook | None = None,
    max_answer_len: int = 20,
) -> "Task":
    """Returns one task at one length, such as `armt_babilong_qa1_16k`.

    Its texts are made when they are asked for; the harness then holds them all. Answers are judged
    by `METRICS`, not as the harness's own BABILong does (the answer anywhere in the output).

    Args:
        task: makes the samples.
        length: tokens of context.
        num_samples: questions; the first of those that the task has.
        prompts: the wording for models that know no task. Without it a prompt is the context and,
            on a line of its own, the question, as models trained on the task want it.
        max_answer_len: tokens of an answer, at most.

    Raises:
        MissingExtraError: the lm-evaluation-harness is not installed.
        ConfigError: the task is none of bAbI.
        DataError: the task has no sample at this length.
        UnknownNameError: there is no prompt for the task.
    """
    if babi_name(task.task) is None:
        raise ConfigError(f"Only bAbI tasks, qa1 to qa20, are judged here. Got '{task.task}'.")
    config = {
        "task": f"armt_babilong_{task.task.replace('@', '_')}_{length_name(length)}",
        "doc_to_text": _writer(task, prompts),
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_answer_len},
        "metadata": {
            "version": _VERSION,
            "samples": task.fingerprint,
            "prompt_hash": _prompt_hash(task, prompts),
        },
    }
    return _over(SampleDocs(task, length, num_samples), config)


def _over(docs: "SampleDocs", config: Mapping[str, Any]) -> "Task":
    """Returns a task of the harness whose table is `docs`."""
    require_lm_eval()
    from lm_eval.api.task import ConfigurableTask

    def take_docs(task: Any, _options: object = None) -> None:
        task.dataset = {"test": docs}

    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS
    ]
    # Nothing is downloaded; the option `custom_dataset` would do, but it logs a warning each time.
    kind = type("BabilongTask", (ConfigurableTask,), {"download": take_docs})
    return kind(
        config={
            "tag": "armt_babilong",
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_target": "answer",
            "process_results": _judge_doc,
            "num_fewshot": 0,
            "metric_list": metrics,
            **config,
        }
    )


@final
class SampleDocs(Sequence[Mapping[str, PlainTree]]):
    """The questions of a task at one length; a table without the contexts, which are made anew."""

    features: Mapping[str, str]
    """The columns, which the harness asks for."""

    def __init__(self, task: SampleTask, length: int, num_samples: int) -> None:
        """Finds out which samples there are.

        Raises:
            DataError: there is none.
        """
        self._task, self._length = task, length
        self._indices = list(task.indices(length, num_samples))
        if not self._indices:
            raise DataError(
                f"'{task.task}' has none of the first {num_samples} samples at {length} tokens. "
                "Ask for more samples or a longer context."
            )
        columns = ("task", "length", "index", "question", "answer")
        self.features = dict.fromkeys(columns, "value")

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        sample = self._task.sample(self._length, self._indices[number])
        return {
            "task": sample.task,
            "length": self._length,
            "index": sample.index,
            "question": sample.question,
            "answer": sample.answer,
        }

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))


def _writer(task: SampleTask, prompts: PromptBook | None) -> Callable[[Mapping[str, Any]], str]:
    prompt = None if prompts is None else prompts[babi_name(task.task) or task.task]

    def write(doc: Mapping[str, Any]) -> str:
        sample = task.sample(doc["length"], doc["index"])
        context = "".join(sample.text())
        if prompt is None:
            return f"{context.strip()}\n{sample.question.strip()}"
        return prompt.text(context, sample.question)

    return write


def _judge_doc(doc: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, float]:
    """Called by the harness with a question and what was said."""
    found = judge(doc["task"], doc["answer"], outputs[0], doc["question"])
    return {name: float(found[name]) for name in METRICS}


def _prompt_hash(task: SampleTask, prompts: PromptBook | None) -> str:
    return "" if prompts is None else prompts[babi_name(task.task) or task.task].hash
