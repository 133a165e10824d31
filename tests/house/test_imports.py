"""Importing armt has no effect: no file, no network, no output, no random number, no device."""

import json
import os
import subprocess
import sys

from house.sources import ROOT

MAX_IMPORT_S = 60

# The foreign libraries are imported first: what they do is not ours to judge.
SCRIPT = """
import importlib, json, os, pkgutil, random, signal, sys, time, warnings
import jaxtyping, numpy, rich, safetensors, tokenizers, torch, typer
import torch._dynamo, transformers.generation, transformers.modeling_utils

def settings():
    return {
        "environ": dict(os.environ),
        "dtype": str(torch.get_default_dtype()),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "torch_rng": torch.get_rng_state().tolist(),
        "python_rng": repr(random.getstate()),
        "filters": repr(warnings.filters),
        "sigint": repr(signal.getsignal(signal.SIGINT)),
        "precision": torch.get_float32_matmul_precision(),
    }

events = []

def watch(event, args):
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR):
        events.append(f"writes {args[0]}")
    elif event in ("socket.connect", "subprocess.Popen", "os.mkdir"):
        events.append(f"{event} {args}")

sys.addaudithook(watch)
before, start = settings(), time.perf_counter()
import armt
seconds = time.perf_counter() - start
failed = []
for info in pkgutil.walk_packages(armt.__path__, "armt."):
    if not info.name.endswith("__main__"):
        try:
            importlib.import_module(info.name)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("armt"):
                failed.append(info.name)
after = settings()
changed = [name for name in before if before[name] != after[name]]
report = {"events": events, "changed": changed, "seconds": seconds, "failed": failed}
report["cuda"] = torch.cuda.is_initialized()
sys.__stderr__.write("REPORT" + json.dumps(report))
"""


def test_importing_has_no_effect(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    env |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    noise, found, report = result.stderr.partition("REPORT")
    assert found, result.stderr
    told = json.loads(report)
    assert result.stdout == ""
    assert noise == ""
    assert told["events"] == []
    assert told["changed"] == []
    assert told["failed"] == []
    assert told["cuda"] is False
    assert told["seconds"] < MAX_IMPORT_S
