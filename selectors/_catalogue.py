"""The selection criteria and controls by name. To add one: write its file and add its line here."""

from __future__ import annotations

from typing import Final

from dartboard.benchmark.catalogue import Catalogue, Entry, Family
from dartboard.benchmark.errors import InputError


def shuffled(criterion: Entry, name: str = "") -> Entry:
    """The control that permutes a criterion's scores, `shuffled:NAME` unless it has a name of its own.

    Raises:
        InputError: when that is a control itself.
    """
    if criterion.control is not None:
        raise InputError(f"only a criterion's scores can be shuffled, and {criterion.name!r} is a control")
    return Entry(
        name=name or f"shuffled:{criterion.name}",
        place="dartboard.selectors.shuffled:shuffled",
        summary=f"control: the scores of {criterion.name}, each edge's operations permuted",
        options=criterion.options,
        control="blind",
        origin=criterion.origin,
        of=criterion,
    )


MAGNITUDE: Final = Entry(
    name="magnitude",
    place="dartboard.selectors.magnitude:Magnitude",
    summary="the largest mixing weight, `none` allowed (Liu et al. 2019)",
)
LEAVE_ONE_OUT: Final = Entry(
    name="leave-one-out",
    place="dartboard.selectors.leave_one_out:LeaveOneOut",
    summary="DARTS-PT's scores of all edges at once: no projection between, no training",
)

SELECTORS: Final = Catalogue(
    "selector",
    [
        MAGNITUDE,
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
        LEAVE_ONE_OUT,
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
            name="im-literal",
            place="dartboard.selectors.im_literal:ImLiteral",
            summary="Influential Magnitude as released: a direction no softmax feels, so noise (Zhang et al. 2022)",
        ),
        Entry(
            name="im-literal-identity",
            place="dartboard.selectors.im_literal:ImLiteral",
            summary="the same with the identity for the inverse Hessian: rounding",
            options={"inverse": "identity"},
        ),
        Entry(
            name="im-literal-neumann",
            place="dartboard.selectors.im_literal:ImLiteral",
            summary="the same with a Neumann series for the inverse Hessian: rounding",
            options={"inverse": "neumann"},
        ),
        Entry(
            name="im-null",
            place="dartboard.selectors.im_literal:ImLiteral",
            summary="the null of im-literal: a random direction of the same length",
            options={"direction": "noise"},
        ),
        Entry(
            name="im-mix",
            place="dartboard.selectors.im_mix:ImMix",
            summary="Influential Magnitude by the mixing weights, where its direction is felt",
        ),
        Entry(
            name="im-quad",
            place="dartboard.selectors.im_quad:ImQuad",
            summary="the predicted loss after removal, the weights having followed, to second order",
        ),
        Entry(
            name="im-quad-first",
            place="dartboard.selectors.im_quad:ImQuad",
            summary="its first-order term only",
            options={"terms": "first"},
        ),
        Entry(
            name="im-quad-indirect",
            place="dartboard.selectors.im_quad:ImQuad",
            summary="its first-order term and what the weights make of it",
            options={"terms": "indirect"},
        ),
        Entry(
            name="im-alpha",
            place="dartboard.selectors.im_alpha:ImAlpha",
            summary="the squared mixing weight times the indirect curvature of one logit",
        ),
        Entry(
            name="one-shot-best",
            place="dartboard.selectors.one_shot_best:OneShotBest",
            summary="the best of 100 random cells by the weights they inherit (Li and Talwalkar 2019)",
        ),
        Entry(
            name="one-shot-best-recalibrated",
            place="dartboard.selectors.one_shot_best:OneShotBest",
            summary="the same with batch norm's statistics taken anew for each cell",
            options={"statistics": "re-estimated"},
        ),
        Entry(
            name="one-shot-evolution",
            place="dartboard.selectors.one_shot_best:OneShotBest",
            summary="the best of 100 cells that an evolution looks at (after Guo et al. 2020)",
            options={"search": "evolution"},
        ),
        Entry(
            name="beam-perturbation",
            place="dartboard.selectors.beam_perturbation:BeamPerturbation",
            summary="DARTS-PT's projections with a beam of partial cells, nothing trained",
        ),
        Entry(
            name="is-darts",
            place="dartboard.selectors.is_darts:IsDarts",
            summary="removes what has the smallest channel variance somewhere (He et al. 2024)",
        ),
        Entry(
            name="channel-variance",
            place="dartboard.selectors.is_darts:IsDarts",
            summary="its ablation: removes what has the smallest mean channel variance",
            options={"measure": "variance"},
        ),
        Entry(
            name="discretisation-accuracy",
            place="dartboard.selectors.discretisation_accuracy:DiscretisationAccuracy",
            summary="the supernet's accuracy with an operation alone on its edge, after tuning (Wang et al. 2021)",
        ),
        Entry(
            name="sgas",
            place="dartboard.selectors.sgas:Sgas",
            summary="settles the most important and certain edge first, training between (Li et al. 2020)",
        ),
        Entry(
            name="zero-cost-pt",
            place="dartboard.selectors.zero_cost_pt:ZeroCostPT",
            summary="edge by edge what an untrained network tells images apart least without (Xiang et al. 2023)",
        ),
        Entry(
            name="zero-cost-pt-synflow",
            place="dartboard.selectors.zero_cost_pt:ZeroCostPT",
            summary="the same by the synaptic flow of an untrained network, which sees no image",
            options={"measure": "synflow"},
        ),
        Entry(
            name="zero-cost-pt-trained",
            place="dartboard.selectors.zero_cost_pt:ZeroCostPT",
            summary="the same by activation codes, of the trained weights under the searcher's mixture",
            options={"weights": "trained", "mixture": "searcher"},
        ),
        Entry(
            name="oles-similarity",
            place="dartboard.selectors.oles_similarity:OlesSimilarity",
            summary="the convolution that training and validation pull the same way (after Jiang et al. 2023)",
        ),
        Entry(
            name="oles-similarity-literal",
            place="dartboard.selectors.oles_similarity:OlesSimilarity",
            summary="the same with the training gradient left in the validation gradient, as in the code",
            options={"accumulated": True},
        ),
        Entry(
            name="hessian-trace",
            place="dartboard.selectors.hessian_trace:HessianTrace",
            summary="the logit along which the validation loss is curved most (after Zela et al. 2020)",
        ),
        Entry(
            name="hessian-trace-smallest",
            place="dartboard.selectors.hessian_trace:HessianTrace",
            summary="the logit along which the validation loss is curved least",
            options={"keep": "smallest"},
        ),
        Entry(
            name="edge-entropy",
            place="dartboard.selectors.edge_entropy:EdgeEntropy",
            summary="DARTS-PT's rule with the edges in the order of their certainty, nothing trained",
        ),
        Entry(
            name="random",
            place="dartboard.selectors.uniform:Uniform",
            summary="control: a cell drawn uniformly from the space",
            control="blind",
        ),
        Entry(
            name="random-no-none",
            place="dartboard.selectors.uniform:Uniform",
            summary="control: a cell drawn uniformly from those without `none`",
            options={"operations": ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")},
            control="blind",
        ),
        Entry(
            name="random-skip-conv",
            place="dartboard.selectors.uniform:Uniform",
            summary="control: a cell drawn uniformly from those of skips and convolutions",
            options={"operations": ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")},
            control="blind",
        ),
        shuffled(MAGNITUDE, "shuffled-magnitude"),
        shuffled(LEAVE_ONE_OUT, "shuffled-leave-one-out"),
        Entry(
            name="prior",
            place="dartboard.selectors.prior:Prior",
            summary="control: the constant order none < pool < skip < 1x1 < 3x3",
            control="blind",
        ),
        Entry(
            name="edge-oracle",
            place="dartboard.selectors.edge_oracle:EdgeOracle",
            summary="control: on each edge the operation of the highest average accuracy in the table",
            control="truth",
        ),
        Entry(
            name="oracle",
            place="dartboard.selectors.oracle:Oracle",
            summary="control: the table's best cell, the ceiling",
            control="truth",
        ),
    ],
    families=[
        Family(
            prefix="shuffled",
            summary="control: the scores of the criterion NAME, each edge's operations permuted",
            make=shuffled,
        )
    ],
)
