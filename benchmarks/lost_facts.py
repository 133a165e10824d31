"""Says where the facts went that a long reading lost: not written, or overwritten later.

    python benchmarks/lost_facts.py --folder runs/qa1 --trained runs/qa1/weights.safetensors \
        --length 1B --rows 8 --state runs/deep --results benchmarks/results/NAME.jsonl

After `deep_reading.py` with the same options: the segments that tell something are read anew, one
after the other from an empty memory, and nothing between them. A memory that is never written but
by facts is then the same as after the whole text. What is answered right now and was wrong then was
overwritten; what is wrong in both was not written.
"""

import torch
from deep_reading import begin, reading_options, scores, state_path

from armt.core.shapes import Int, Tensor
from armt.evaluation.answers import evaluating, stretches
from armt.evaluation.metrics import Score
from armt.recurrence.model import Recurrent
from armt.recurrence.state import RecurrentState
from armt.recurrence.state_file import load_state
from armt.tasks.babilong.asking import ask_for_everyone
from armt.tasks.contract import Sample

_CHANGED = 0.1
"""Share of a state's length by which another one differs that is more than rounding."""


def main() -> None:
    """Reads the segments with facts, asks again, and compares the states."""
    options = reading_options(__doc__).parse_args()
    name, model, encoder, samples, book = begin(options)
    state = load_state(state_path(options.state), model)
    num_read = int(state.num_tokens[0])
    whole = [state.select_rows(torch.tensor([row])) for row in range(len(samples))]
    alone = [_read_facts_alone(model, sample, num_read) for sample in samples]
    about = {
        "task": "qa1", "tokens": num_read, "text": options.length, "model": name,
        "num_readings": len(samples), "first": options.first,
    }  # fmt: skip
    asked = [ask_for_everyone(sample, encoder, num_read) for sample in samples]
    for read, states in (("whole text", whole), ("facts alone", alone)):
        found = [
            scores(model, [questions], state, encoder)["everyone", "on"]
            for questions, state in zip(asked, states, strict=True)
        ]
        score = Score(sum(each.num_correct for each in found), sum(map(len, asked)))
        _ = book.add(
            "babilong.accuracy", score.accuracy, "share", memory="on", asked="so far", read=read,
            num_samples=score.num_samples, **about,
        )  # fmt: skip
    pairs = list(zip(alone, whole, strict=True))
    for layer in range(len(state.layers)):
        num_changed = sum(_is_changed(one, other, layer) for one, other in pairs)
        _ = book.add(
            "memory.changed_share", num_changed / len(pairs), "share", layer=layer,
            threshold=_CHANGED, num_samples=len(pairs), **about,
        )  # fmt: skip


@torch.no_grad()
def _read_facts_alone(model: Recurrent, sample: Sample, num_read: int) -> RecurrentState:
    with evaluating(model):
        return model.read(_told(sample, model.recurrence.segment_len, num_read))


def _told(sample: Sample, segment_len: int, num_read: int) -> Int[Tensor, " T"]:
    """Returns the segments of a context that hold a fact, or a part of one, in their order."""
    facts = [fact for fact in sample.facts if fact.start + fact.length <= num_read]
    ends = [(fact.start, fact.start + fact.length - 1) for fact in facts]
    wanted = sorted({place // segment_len * segment_len for pair in ends for place in pair})
    kept: list[Tensor] = []
    position = 0
    for stretch in stretches([sample.context()], segment_len):
        end = position + stretch.shape[1]
        kept += [
            stretch[0, start - position : start - position + segment_len]
            for start in wanted
            if position <= start < end
        ]
        position = end
        if position > num_read:
            break
    return torch.cat(kept)


def _is_changed(one: RecurrentState, other: RecurrentState, layer: int) -> bool:
    """Returns whether a layer's state is another one in the second, beyond rounding."""
    pairs = [
        torch.cat([value.float().flatten() for value in state.layers[layer].tensors().values()])
        for state in (one, other)
    ]
    return bool((pairs[0] - pairs[1]).norm() > _CHANGED * pairs[1].norm())


if __name__ == "__main__":
    main()
