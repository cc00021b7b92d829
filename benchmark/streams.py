"""Random streams by name: each role draws from its own, so that adding a role never changes another's draws."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed from a seed and the names of a role, the same on every machine."""
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for the role that `names` tell."""
    return torch.Generator().manual_seed(derive(seed, *names))


def split_off(generator: torch.Generator) -> int:
    """A seed drawn from a generator: the root of streams that need no state kept."""
    return int(torch.randint(2**62, (), generator=generator))
