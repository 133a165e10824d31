"""One CUDA graph computes what the operations one by one compute."""

import gc
from dataclasses import replace
from itertools import islice

import pytest
import torch

from armt.memories.associative import MLPAssociativeConfig
from armt.tasks.contract import Batch
from armt.tasks.encoder import TokenizerEncoder
from armt.training.graphed import GraphedStepper
from armt.training.run import build_model
from armt.training.step import EagerStepper
from tiny_boxed import tiny_tokenizer
from training.cpu_graphs import use_cpu_graphs
from training.runs import carried_run, fact_stream, retrieval_run

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
NUM_STEPS = 4


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], autouse=True)
def device(request, monkeypatch):
    """Where the steps run; matrix products keep single precision."""
    if request.param == "cpu":
        use_cpu_graphs(monkeypatch)
    else:
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    return request.param


def batches_of(kind: str, device: str) -> tuple[torch.nn.Module, list[Batch]]:
    """A model and a few batches; those of facts are carried on, the others have questions."""
    if kind in ("retrieval", "learned_start"):
        run = retrieval_run()
        if kind == "learned_start":  # its empty state bears a gradient
            memory = MLPAssociativeConfig(num_memory_tokens=2, d_mem=4, d_hidden=8)
            run = replace(run, memory=memory)
        task = replace(run.stages[0].stream, num_questions=3)
        stream = task.build().stream(8, seed=0)
        model = build_model(run, None)
    else:
        run = carried_run()
        encoder = TokenizerEncoder(tiny_tokenizer())
        stream = fact_stream(run, encoder)
        model = build_model(run, encoder)
    with torch.no_grad():
        for parameter in model.memory.parameters():
            _ = parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(device).train(), list(islice(stream.batches(), NUM_STEPS))


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: value.grad.clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        _ = parameter.grad.zero_()
    return found


@pytest.mark.parametrize("kind", ["retrieval", "learned_start", "carried"])
@pytest.mark.parametrize("write_penalty", [0.0, 0.3])
def test_gradients_and_states_are_those_of_the_eager_step(kind, write_penalty, device):
    model, batches = batches_of(kind, device)
    eager = EagerStepper(model, model, write_penalty)
    graphed = GraphedStepper(eager)
    carried = {"eager": None, "graphed": None}
    for batch in batches:
        expected = eager(batch, carried["eager"])
        wanted = gradients(model)
        found = graphed(batch, carried["graphed"])
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, wanted[name], **CLOSE, msg=name)
        assert any(gradient.abs().sum() > 0 for gradient in wanted.values())
        torch.testing.assert_close(found.loss, expected.loss, **CLOSE)
        assert int(found.num_labels) == int(expected.num_labels) > 0
        assert int(found.num_correct) == int(expected.num_correct)
        is_taken = torch.tensor(True, device=device)
        carried = {
            "eager": eager.carried_on(expected, is_taken),
            "graphed": graphed.carried_on(found, is_taken),
        }
        assert (carried["graphed"] is None) == (kind != "carried")
        for left, right in zip(found.carried or (), expected.carried or (), strict=True):
            torch.testing.assert_close(left.association, right.association, **CLOSE)


def test_nothing_holds_the_path_of_a_gradient_after_a_step(device):
    """A capture fails where weights are bound to the stream of a path before it."""
    model, batches = batches_of("learned_start", device)
    kept = _with_paths()
    _ = EagerStepper(model, model, 0.0)(batches[0], None)
    assert _with_paths() <= kept


def _with_paths() -> set[int]:
    tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
    return {id(each) for each in tensors if each.grad_fn is not None}


@pytest.mark.parametrize("is_taken", [True, False])
def test_what_is_carried_on_stays_when_it_runs_again(device, is_taken):
    model, batches = batches_of("carried", device)
    eager = EagerStepper(model, model, 0.0)
    graphed = GraphedStepper(eager)
    before = graphed.carried_on(graphed(batches[0], None), torch.tensor(True, device=device))
    result = graphed(batches[1], before)
    loss = result.loss.clone()
    carried = graphed.carried_on(result, torch.tensor(is_taken, device=device))
    kept = [state.association.clone() for state in carried]
    _ = graphed(batches[2], carried)
    assert torch.equal(result.loss, loss)
    wanted = eager(batches[1], before)
    for state, value, after, start in zip(
        carried, kept, wanted.carried, wanted.started, strict=True
    ):
        assert torch.equal(state.association, value)
        expected = after if is_taken else start
        torch.testing.assert_close(value, expected.association, **CLOSE)


def test_each_shape_has_its_own_graph(device):
    model, batches = batches_of("retrieval", device)
    eager = EagerStepper(model, model, 0.0)
    graphed = GraphedStepper(eager)
    fewer_rows = batches[1].map(lambda tensor: tensor[:3])
    fewer_questions = replace(
        batches[2],
        question_ids=batches[2].question_ids[:, :2],
        question_labels=batches[2].question_labels[:, :2],
    )
    for batch in (batches[0], fewer_rows, fewer_questions, batches[3]):
        expected = float(eager(batch, None).loss)
        assert float(graphed(batch, None).loss) == pytest.approx(expected, rel=1e-4)
    assert len(graphed._graphs) == 3
