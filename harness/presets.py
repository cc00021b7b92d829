"""The sizes at which a grid can run: how much of the literature's supernet, images and epochs it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named size. Image figures are upper bounds: a smaller data set is taken whole."""

    summary: str
    channels: int = 16
    cells_per_stage: int = 5
    image_size: int | None = None  # at most; None: as the data set has it
    train_images: int | None = None  # at most
    valid_images: int | None = None  # at most
    search: Mapping[str, Any] = field(default_factory=dict)  # fields of the protocol, for every searcher
    searchers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # options by searcher
    selectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # options by selector
    diagnostics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # options by diagnostic


PRESETS: Final[Mapping[str, Preset]] = {
    "smoke": Preset(
        summary="seconds, for tests: C=4, N=1, 8x8 pixels, 128 + 128 images, 2 epochs",
        channels=4,
        cells_per_stage=1,
        image_size=8,
        train_images=128,
        valid_images=128,
        search={"epochs": 2, "batch_size": 32},
        searchers={
            **{name: {"inner_steps": 2} for name in ("idarts", "zarts-mgs", "zarts-rs", "zarts-gld")},
            "random-search": {"budget": 20},
            "regularised-evolution": {"budget": 20},
            "svge-bo": {"budget": 20, "initial": 10, "batch": 5, "state": 8, "latent": 4, "cells": 100, "epochs": 2},
        },
        selectors={
            **{name: {"interval": 1} for name in ("perturbation", "perturbation-loss", "pt-magnitude", "sgas")},
            **{name: {"samples": 2} for name in ("shapley", "shapley-unbiased")},
            **{
                name: {"cells": 6, "batches": 1, "recalibration": 1, "population": 5}
                for name in ("one-shot-best", "one-shot-best-recalibrated", "one-shot-evolution")
            },
            **{
                name: {"batches": 1}
                for name in ("shapley-exact-edge", "beam-perturbation", "is-darts", "channel-variance")
            },
            "discretisation-accuracy": {"epochs": 0, "batches": 1},
            **{
                f"zero-cost-pt{kind}": {"proposals": 2, "batch_size": 32, "validation_batches": 2}
                for kind in ("", "-synflow", "-trained")
            },
            **{
                name: {"batches": 1}
                for name in (
                    *("oles-similarity", "oles-similarity-literal"),
                    *("hessian-trace", "hessian-trace-smallest", "edge-entropy"),
                )
            },
            **{
                f"im-{name}": {"batches": 1}
                for name in (
                    *("literal", "literal-identity", "literal-neumann", "null"),
                    *("mix", "quad", "quad-first", "quad-indirect", "alpha"),
                )
            },
        },
        diagnostics={
            "alpha-hessian": {"images": 32},
            "landscape": {"images": 32, "directions": 2},
            "rank-correlation": {"images": 32, "cells": 20},
        },
    ),
    "laptop": Preset(
        summary="minutes on two cores: C=8, N=1, 16x16 pixels, 6,400 + 6,400 images, 50 epochs, architecture rate 3e-3",
        channels=8,
        cells_per_stage=1,
        image_size=16,
        train_images=6400,
        valid_images=6400,
        search={"epochs": 50, "architecture_learning_rate": 3e-3},
        searchers={
            "random-search": {"budget": 300},
            "regularised-evolution": {"budget": 300},
            "svge-bo": {"budget": 300, "initial": 50, "batch": 25},
        },
        # 30 epochs of tuning in place of 150: less than the search itself, and some minutes of a core.
        selectors={"discretisation-accuracy": {"epochs": 1}},
    ),
    "paper": Preset(summary="the literature's: C=16, N=5, all images at full size, the protocol's own epochs"),
}
