"""Which versions a record was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def versions() -> dict[str, str | None]:
    """The fields of a record that tell versions and the commit."""
    return {
        "dartboard_version": version("dartboard"),
        "torch_version": version("torch"),
        "numpy_version": version("numpy"),
        "python_version": platform.python_version(),
        "commit": commit(Path(__file__).resolve().parent),
    }


def commit(folder: Path) -> str | None:
    """The commit of the checkout that `folder` is tracked in, with `+changed` where files differ; None outside one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not git("ls-files", "--error-unmatch", Path(__file__).name):
        return None
    head = git("rev-parse", "HEAD")
    return head if head is None or not git("status", "--porcelain", "--untracked-files=no") else f"{head}+changed"
