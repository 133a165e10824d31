"""Every memory that can does the same by CUDA graphs as by the plain loop (law 12)."""

import copy
from dataclasses import replace

import pytest
import torch

from armt import ARMTConfig
from armt.recurrence.choose_schedule import NOT_IN_GRAPHS, decode_obstacle, wave_obstacle
from armt.recurrence.decoding import RecurrentCache
from tiny import FAMILIES, SEGMENT_LEN, assert_same_state, random_ids, recurrent

pytestmark = pytest.mark.gpu

LENGTHS = (1, 2 * SEGMENT_LEN, 30 * SEGMENT_LEN + 2)


def test_graphs_read_as_the_loop_does(subject):
    plain = subject.model(schedule="sequential").cuda()
    if wave_obstacle(plain) is not None:
        return  # such a memory runs segment by segment
    graphed = subject.model(schedule="waves").cuda()
    for seed, length in enumerate(LENGTHS):
        ids = random_ids(2, length, seed=seed)
        assert_same_state(graphed.read(ids), plain.read(ids), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.parametrize("schedule", ["waves", "sequential"])
def test_compiled_graphs_read_as_the_loop_does(schedule):
    memory = ARMTConfig(num_memory_tokens=4, d_mem=8)
    options = {"num_hidden_layers": 3}
    plain = recurrent(memory, schedule="sequential", **options).float().cuda()
    graphed = recurrent(memory, schedule=schedule, **options).float().cuda()
    graphed.recurrence = replace(graphed.recurrence, is_compiled=True)
    for seed, length in enumerate(LENGTHS):
        ids = random_ids(2, length, seed=seed)
        for given in (ids, ids.cuda()):
            assert_same_state(graphed.read(given), plain.read(ids), rtol=1e-3, atol=1e-4)


GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def assert_decoded_alike(model, *, atol=1e-9, **options):
    """Generates with graphs and without: two texts of each number of rows, over ends of segments.

    The first text is captured on its way, the second one finds the graph. What the first left must
    not change with the second.
    """
    model = model.cuda()
    plain = copy.deepcopy(model)
    plain.recurrence = replace(plain.recurrence, schedule="sequential")
    options = GREEDY | {"return_dict_in_generate": True, "output_logits": True} | options
    kept = []
    for seed, num_rows in enumerate((3, 1, 3, 1)):
        state = plain.read(random_ids(num_rows, 7, seed=seed), plain.init_state(num_rows))
        given = {"state": state, "max_new_tokens": 3 * model.recurrence.segment_len + 14}
        prompt = random_ids(num_rows, 3, seed=seed + 10).cuda()
        found, expected = (each.generate(prompt, **given, **options) for each in (model, plain))
        kept.append((found, expected))
    for found, expected in kept:
        assert found.sequences.tolist() == expected.sequences.tolist()
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
        states = [output.past_key_values.groups[0].state for output in (found, expected)]
        assert_same_state(*states, rtol=0.0, atol=atol)
    loops = model.__dict__["_decode_loops"]._kept
    assert all(loop._captured is not None for loop in loops)
    assert "_decode_loops" not in plain.__dict__
    return loops


def test_graphs_decode_as_the_loop_does(subject):
    model = subject.model()
    if decode_obstacle(model) is None:
        assert len(assert_decoded_alike(model)) == 2


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - NOT_IN_GRAPHS.keys()))
def test_every_family_decodes_by_graphs(family):
    memory = ARMTConfig(num_memory_tokens=2, d_mem=4)
    atol = 1e-4 if family == "gemma2" else 1e-9  # its attention has a softmax in float32
    assert len(assert_decoded_alike(recurrent(memory, family, segment_len=12), atol=atol)) == 2


def test_beams_and_rows_of_different_length_decode_by_graphs():
    memory = ARMTConfig(num_memory_tokens=2, d_mem=4)
    loops = assert_decoded_alike(recurrent(memory), num_beams=4)
    assert {len(loop._ids) for loop in loops} == {4, 12}
    model = recurrent(memory).cuda()
    plain = copy.deepcopy(model)
    plain.recurrence = replace(plain.recurrence, schedule="sequential")
    prompt, mask = random_ids(5, 6).cuda(), torch.ones(5, 6, dtype=torch.long)
    mask[1, :2] = mask[3, :2] = mask[4, :3] = 0
    options = GREEDY | {"attention_mask": mask.cuda(), "max_new_tokens": 20}
    texts = [each.generate(prompt, **options).tolist() for each in (model, model, plain)]
    assert texts[0] == texts[1] == texts[2]
    assert sorted(len(loop._ids) for loop in model.__dict__["_decode_loops"]._kept) == [1, 2, 2]


@torch.no_grad()
def test_graphs_decode_under_autocast():
    model = recurrent(ARMTConfig(num_memory_tokens=2, d_mem=4)).float().cuda()
    plain = copy.deepcopy(model)
    plain.recurrence = replace(plain.recurrence, schedule="sequential")
    ids, logits = random_ids(2, 30).cuda(), []
    for each in (plain, model, model):
        cache = RecurrentCache(each.init_state(2))
        with torch.autocast("cuda", torch.bfloat16):
            options = {each.anatomy.cache_name: cache}
            parts = [each(part, **options).logits for part in ids.split(1, dim=1)]
        cache.release()
        logits.append(torch.cat(parts, dim=1).float())
    (loop,) = model.__dict__["_decode_loops"]._kept
    assert loop._captured is not None
    for found in logits[1:]:
        torch.testing.assert_close(found, logits[0], rtol=0.1, atol=0.1)
