"""What every test gets: a seed, no network, and shapes checked where they are annotated."""

import os
import random
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

CHECKED_PACKAGES = ["armt.core", "armt.ops", "armt.memories"]
LOCAL_HOSTS = ("127.", "::1", "localhost")

# Must run before anything of armt is imported: shapes are checked in tests and free elsewhere.
# A machine that only runs the GPU tests may lack beartype; they need no second check of shapes.
if find_spec("beartype"):
    from house import shape_checker

    _ = install_import_hook(CHECKED_PACKAGES, f"{shape_checker.__name__}.check_shapes")


@pytest.fixture(autouse=True)
def seed() -> int:
    """Makes every test start from the same random numbers."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - third parties draw from the global generator
    _ = torch.manual_seed(0)
    return 0


@pytest.fixture(autouse=True)
def same_defaults() -> Iterator[None]:
    """Fails a test that leaves torch's defaults changed for the tests after it."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    left = torch.get_default_dtype(), torch.is_grad_enabled()
    torch.set_default_dtype(dtype)
    _ = torch.set_grad_enabled(grad)
    assert left == (dtype, grad), f"The test left (dtype, grad) = {left} behind."


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets sockets reach this machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            assert host.startswith(LOCAL_HOSTS), f"A test may not reach the network: {host}."
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"No data sets in {folder}.")
    return folder
