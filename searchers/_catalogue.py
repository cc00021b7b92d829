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
            passes=(2, 3),
        ),
        Entry(
            name="darts-v2",
            place="dartboard.searchers.darts_v2:DartsV2",
            summary="DARTS, second order: one unrolled step (Liu et al. 2019)",
            passes=(5, 8),
        ),
        Entry(
            name="fixed-alpha",
            place="dartboard.searchers.fixed_alpha:FixedAlpha",
            summary="supernet under the uniform mixture, alpha never moves (Wang et al. 2021)",
            passes=(2, 2),
        ),
        Entry(
            name="single-level",
            place="dartboard.searchers.single_level:SingleLevel",
            summary="DARTS with weights and alpha on the same data, one pass (Liu et al. 2019)",
            passes=(2, 2),
        ),
        Entry(
            name="sdarts-rs",
            place="dartboard.searchers.sdarts_rs:SdartsRs",
            summary="SmoothDARTS, weights under a randomly perturbed mixture (Chen, Hsieh 2020)",
            passes=(2, 3),
        ),
        Entry(
            name="sdarts-adv",
            place="dartboard.searchers.sdarts_adv:SdartsAdv",
            summary="SmoothDARTS, weights under the worst mixture nearby (Chen, Hsieh 2020)",
            passes=(11, 10),
        ),
        Entry(
            name="drnas",
            place="dartboard.searchers.drnas:DrNas",
            summary="DrNAS, mixture drawn from a learnt Dirichlet distribution (Chen et al. 2021)",
            passes=(2, 3),
        ),
        Entry(
            name="drnas-progressive",
            place="dartboard.searchers.drnas:DrNas",
            summary="DrNAS in two stages: partial channels, then twice as many and fewer operations",
            options={"partial": (4, 2), "keep": (5, 3), "warm_up": 0.2},
            passes=(2, 3),
        ),
        Entry(
            name="idarts",
            place="dartboard.searchers.idarts:IDarts",
            summary="iDARTS, implicit gradient with Neumann terms every T steps (Zhang et al. 2021)",
            passes=(2.25, 7),
        ),
        Entry(
            name="gaea",
            place="dartboard.searchers.gaea:Gaea",
            summary="GAEA, exponentiated gradient on the simplex (Li et al. 2021)",
            passes=(2, 3),
        ),
        Entry(
            name="gaea-erm",
            place="dartboard.searchers.gaea:Gaea",
            summary="GAEA on one level: mixture and weights both trained on all images",
            options={"variant": "erm"},
            passes=(2, 3),
        ),
        Entry(
            name="pc-darts",
            place="dartboard.searchers.pc_darts:PcDarts",
            summary="PC-DARTS, a part of the channels mixed, edges weighed (Xu et al. 2020)",
            passes=(2, 3),
        ),
        Entry(
            name="gdas",
            place="dartboard.searchers.gdas:Gdas",
            summary="GDAS, one sampled operation an edge, straight-through gradient (Dong, Yang 2019)",
            passes=(2, 3),
        ),
        Entry(
            name="snas",
            place="dartboard.searchers.snas:Snas",
            summary="SNAS, mixture sampled from the concrete distribution (Xie et al. 2019)",
            passes=(2, 3),
        ),
        Entry(
            name="dsnas",
            place="dartboard.searchers.dsnas:Dsnas",
            summary="DSNAS, sampled cells, logits follow their cost, one level (Hu et al. 2020)",
            passes=(2, 2),
        ),
        Entry(
            name="spos",
            place="dartboard.searchers.spos:Spos",
            summary="supernet trained by uniformly sampled single paths (Guo et al. 2020)",
            passes=(2, 2),
        ),
        Entry(
            name="rsps",
            place="dartboard.searchers.spos:Spos",
            summary="the same as the benchmark's authors run it, 250 epochs (Li, Talwalkar 2019)",
            options={"protocol": "autodl"},
            passes=(2, 2),
        ),
        Entry(
            name="beta-darts",
            place="dartboard.searchers.beta_darts:BetaDarts",
            summary="beta-DARTS, growing penalty on the logits' log-sum-exp (Ye et al. 2022)",
            passes=(2, 3),
        ),
        Entry(
            name="darts-aer",
            place="dartboard.searchers.darts_aer:DartsAer",
            summary="DARTS with an entropy term that turns from reward to penalty (Jing et al. 2023)",
            passes=(2, 3),
        ),
        Entry(
            name="lambda-darts",
            place="dartboard.searchers.lambda_darts:LambdaDarts",
            summary="Lambda-DARTS, weights trained so that cells agree on the mixture (Movahedi et al. 2023)",
            passes=(4, 7),
        ),
        Entry(
            name="zarts-mgs",
            place="dartboard.searchers.zarts:Zarts",
            summary="ZARTS, alpha moves by random steps that trained weights judge (Wang et al. 2022)",
            options={"variant": "mgs"},
            passes=(6.4, 10.1),
        ),
        Entry(
            name="zarts-rs",
            place="dartboard.searchers.zarts:Zarts",
            summary="the same with a gradient from differences along random directions",
            options={"variant": "rs"},
            passes=(7.5, 12),
        ),
        Entry(
            name="zarts-gld",
            place="dartboard.searchers.zarts:Zarts",
            summary="the same with the best of random steps of falling length, or none",
            options={"variant": "gld"},
            passes=(7.5, 12),
        ),
        Entry(
            name="robust-darts",
            place="dartboard.searchers.robust_darts:RobustDarts",
            summary="DARTS that ends when the validation loss bends too sharply in alpha (Zela et al. 2020)",
            passes=(2, 3),
        ),
        Entry(
            name="darts-minus",
            place="dartboard.searchers.darts_minus:DartsMinus",
            summary="DARTS-, an auxiliary skip on every edge that fades over the search (Chu et al. 2021)",
            passes=(2, 3),
        ),
        Entry(
            name="oles",
            place="dartboard.searchers.oles:Oles",
            summary="OLES: an operation stops training once its gradient serves validation no more (Jiang et al. 2023)",
            passes=(2, 4),
        ),
        Entry(
            name="shapley-nas",
            place="dartboard.searchers.shapley_nas:ShapleyNas",
            summary="Shapley-NAS, logits follow sampled Shapley values, after a warm-up (Xiao et al. 2022)",
            passes=(33, 2),  # of the steps that measure, the first 40 of an epoch; (2, 2) of the others
        ),
        Entry(
            name="random-search",
            place="dartboard.searchers.random_search:RandomSearch",
            summary="trains cells drawn uniformly, no supernet (Li, Talwalkar 2019)",
            queries=True,
        ),
        Entry(
            name="regularised-evolution",
            place="dartboard.searchers.regularised_evolution:RegularisedEvolution",
            summary="trains the children of good cells, no supernet (Real et al. 2019)",
            queries=True,
        ),
        Entry(
            name="svge-bo",
            place="dartboard.searchers.svge_bo:SvgeBo",
            summary="Bayesian optimisation on a graph embedding of cells, no supernet (Lukasik et al. 2021)",
            queries=True,
        ),
        Entry(
            name="ista-nas",
            place="dartboard.searchers.ista_nas:IstaNas",
            summary="ISTA-NAS, one operation an edge, recovered from a trained compressed code (Yang et al. 2020)",
            passes=(2, 3),
        ),
        Entry(
            name="eoinas-proxy",
            place="dartboard.searchers.eoinas_proxy:EoinasProxy",
            summary="stand-in for EoiNAS: sampled paths, pruned by weight times accuracy (after Xie, Zhou, Kung 2019)",
            passes=(2, 3),
        ),
    ],
)
