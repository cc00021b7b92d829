"""The search methods by name. To add one: write its file, add its line here, and run `dartboard verify` on it."""

from __future__ import annotations

from typing import Final

from dartboard.benchmark.catalogue import Catalogue, Entry

SEARCHERS: Final = Catalogue(
    "searcher",
    [
        Entry(
            name="darts-v1",
            place="dartboard.searchers.darts_v1:DartsV1",
            summary="DARTS, first order (Liu et al. 2019)",
        ),
        Entry(
            name="darts-v2",
            place="dartboard.searchers.darts_v2:DartsV2",
            summary="DARTS, second order: one unrolled step (Liu et al. 2019)",
        ),
    ],
)
