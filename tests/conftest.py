"""Fixtures that more than one test file uses."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of development data beside the checkout: the official table and CIFAR-10."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "nb201_official.csv.gz").is_file():
        pytest.skip(f"the development data are not at {folder}")
    return folder
