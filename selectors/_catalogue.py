"""The selection criteria and controls by name. To add one: write its file and add its line here."""

from __future__ import annotations

from typing import Final

from dartboard.benchmark.catalogue import Catalogue, Entry

SELECTORS: Final = Catalogue(
    "selector",
    [
        Entry(
            name="magnitude",
            place="dartboard.selectors.magnitude:Magnitude",
            summary="the largest mixing weight, `none` allowed (Liu et al. 2019)",
        ),
        Entry(
            name="magnitude-no-none",
            place="dartboard.selectors.magnitude:Magnitude",
            summary="the largest mixing weight but `none`'s",
            options={"exclude_none": True},
        ),
        Entry(
            name="perturbation",
            place="dartboard.selectors.perturbation:Perturbation",
            summary="DARTS-PT: project edge by edge what hurts most to remove, train between (Wang et al. 2021)",
        ),
        Entry(
            name="perturbation-loss",
            place="dartboard.selectors.perturbation:Perturbation",
            summary="DARTS-PT by validation loss instead of accuracy",
            options={"criterion": "loss"},
        ),
        Entry(
            name="pt-magnitude",
            place="dartboard.selectors.perturbation:Perturbation",
            summary="DARTS-PT's loop with magnitude in place of perturbation (its ablation PT-Mag)",
            options={"criterion": "magnitude"},
        ),
        Entry(
            name="leave-one-out",
            place="dartboard.selectors.leave_one_out:LeaveOneOut",
            summary="DARTS-PT's scores of all edges at once: no projection between, no training",
        ),
        Entry(
            name="first-order",
            place="dartboard.selectors.first_order:FirstOrder",
            summary="minus the mixing weight times its derivative: the rise of the loss that removal promises",
        ),
        Entry(
            name="snip",
            place="dartboard.selectors.snip:Snip",
            summary="connection sensitivity of the operations (Lee et al. 2019)",
        ),
        Entry(
            name="snip-weights",
            place="dartboard.selectors.snip:Snip",
            summary="connection sensitivity summed over an operation's weights: convolutions only",
            options={"level": "weights"},
        ),
        Entry(
            name="fisher",
            place="dartboard.selectors.fisher:Fisher",
            summary="half the mean square of each image's gate gradient (Theis et al. 2018)",
        ),
        Entry(
            name="shapley",
            place="dartboard.selectors.shapley:Shapley",
            summary="Shapley values of all operations, by truncated random permutations (Xiao et al. 2022)",
        ),
        Entry(
            name="shapley-unbiased",
            place="dartboard.selectors.shapley:Shapley",
            summary="the same without truncation and without the deviation taken off: unbiased",
            options={"truncation": 0.0, "score": "mean"},
        ),
        Entry(
            name="shapley-exact-edge",
            place="dartboard.selectors.shapley_exact_edge:ShapleyExactEdge",
            summary="exact Shapley values within each edge, over all coalitions of its operations",
        ),
        Entry(
            name="random",
            place="dartboard.selectors.uniform:Uniform",
            summary="control: a cell drawn uniformly from the space",
            control="blind",
        ),
        Entry(
            name="prior",
            place="dartboard.selectors.prior:Prior",
            summary="control: the constant order none < pool < skip < 1x1 < 3x3",
            control="blind",
        ),
        Entry(
            name="oracle",
            place="dartboard.selectors.oracle:Oracle",
            summary="control: the table's best cell, the ceiling",
            control="truth",
        ),
    ],
)
