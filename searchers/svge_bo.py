"""SVGe with Bayesian optimisation: cells as points of a space learnt from their graphs, and a Gaussian process on it.

J. Lukasik, D. Friede, A. Zela, F. Hutter, M. Keuper, "Smooth Variational Graph Embeddings for Efficient Neural
Architecture Search", IJCNN 2021, arXiv:2010.04683. It shares no weights.

A cell is the graph of its operations: input, six operation nodes, output, an arrow where one feeds the next. A
variational autoencoder learns z = μ + σ ε, ε ~ N(0, 0.01²), from cells alone, by

    loss = -log p(operations | z) + β KL(N(μ, σ²) ‖ N(0, 1));

its encoder passes messages along the arrows and against them, and μ is the cell's place. Then a Gaussian process on the
places of the trained cells predicts m(z) and s(z), and the cells of the largest expected improvement

    EI(z) = (m - y*) Φ(u) + s φ(u),    u = (m - y*)/s,    y* the best accuracy so far

are trained next, round by round.

Differences from the paper: the arrows are the same in all cells of this space, so the decoder tells operations only,
all at once, by messages in both directions. The embedding is small and trained for a short while on a sample of cells
(state 32, latent 16, 20 epochs; there 250, 56, 300). The process is exact (scikit-learn's, with a Matérn kernel,
refitted each round), there sparse; expected improvement is taken over the places of all cells that are not trained,
where the paper optimises in the latent space and decodes. As published, 1,000 cells drawn uniformly are trained first,
then 10 rounds of 50.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dartboard.benchmark.contracts import Selection
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.queries import Queries
from dartboard.benchmark.space import EDGES, SPACE_SIZE, Cell, E, O
from dartboard.searchers._training import cosine

NODES: Final = E + 2  # input, the operations in the order of `EDGES`, output
TYPES: Final = O + 2  # the operations, input, output


def arrows() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """From which node to which each arrow of a cell's graph leads: the ten pairs of operations that follow each other.

    An operation on the edge i <- j follows the input where j = 0, and the operations on edges that end in j.
    """
    pairs = [(0, 1 + e) for e, (_, source) in enumerate(EDGES) if source == 0]
    pairs += [(1 + e, 1 + f) for e, (target, _) in enumerate(EDGES) for f, (_, s) in enumerate(EDGES) if s == target]
    pairs += [(1 + e, NODES - 1) for e, (target, _) in enumerate(EDGES) if target == 3]
    sources, targets = zip(*pairs, strict=True)
    return sources, targets


def node_types(cells: NDArray[np.integer]) -> Tensor:
    """(B, NODES) type of each node of cells given by number, (B,)."""
    digits = torch.from_numpy(np.asarray(cells, dtype=np.int64))[:, None] // O ** torch.arange(E - 1, -1, -1) % O
    ends = torch.tensor([[O, O + 1]]).expand(len(digits), 2)
    return torch.cat([ends[:, :1], digits, ends[:, 1:]], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Budget, embedding and rounds.

    Raises:
        InputError: when a number is not positive.
    """

    budget: int = 1500  # trained cells in all
    initial: int = 1000  # of them, drawn uniformly
    batch: int = 50  # trained in each round
    state: int = 32  # of a node
    latent: int = 16
    beta: float = 0.005  # β
    noise: float = 0.01  # standard deviation of ε
    cells: int = 4000  # that the embedding is learnt from, a tenth of them held out
    epochs: int = 20
    learning_rate: float = 3e-3
    embedding_batch: int = 128

    def __post_init__(self) -> None:
        for name in ("budget", "initial", "batch", "state", "latent", "learning_rate", "embedding_batch"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is greater than 0; got {getattr(self, name)!r}")
        for name in ("epochs", "beta", "noise"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is not negative; got {getattr(self, name)!r}")
        if not 10 <= self.cells <= SPACE_SIZE:
            raise InputError(f"cells is in 10..{SPACE_SIZE}; got {self.cells!r}")


class Round(nn.Module):
    """One round of messages along given arrows, and each node's update: h_v ← GRU(Σ_u MLP(h_u, h_v), h_v)."""

    def __init__(self, state: int, sources: tuple[int, ...], targets: tuple[int, ...]) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * state, state), nn.ReLU())
        self.update = nn.GRUCell(state, state)
        self.sources, self.targets = list(sources), torch.tensor(targets)

    def forward(self, h: Tensor) -> Tensor:
        """States (B, NODES, state) to states."""
        messages = self.message(torch.cat([h[:, self.sources], h[:, self.targets.tolist()]], -1))
        gathered = torch.zeros_like(h).index_add(1, self.targets, messages)
        updated: Tensor = self.update(gathered.flatten(0, 1), h.flatten(0, 1))
        return updated.view_as(h)


def rounds(state: int, each: int) -> nn.Sequential:
    """So many rounds along the arrows, then as many against them."""
    sources, targets = arrows()
    along = [Round(state, sources, targets) for _ in range(each)]
    against = [Round(state, targets, sources) for _ in range(each)]
    return nn.Sequential(*along, *against)


class GraphAutoencoder(nn.Module):
    """A variational autoencoder of cells."""

    def __init__(self, state: int, latent: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TYPES, state)
        self.place = nn.Parameter(torch.randn(NODES, state) / state**0.5)  # which node it is
        self.encoder = rounds(state, 2)
        self.gate = nn.Linear(state, 2 * latent)
        self.readout = nn.Linear(state, 2 * latent)
        self.start = nn.Linear(latent, NODES * state)
        self.decoder = rounds(state, 1)
        self.classifier = nn.Linear(state, O)

    def encode(self, types: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (B, latent) each, of cells by their node types (B, NODES)."""
        h = self.encoder(self.embedding(types) + self.place)
        mean, log_variance = (self.gate(h).sigmoid() * self.readout(h)).sum(1).chunk(2, -1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """(B, E, O) logits of the operations."""
        h = self.start(z).view(len(z), NODES, -1) + self.place
        logits: Tensor = self.classifier(self.decoder(h)[:, 1:-1])
        return logits


def autoencoder_loss(logits: Tensor, operations: Tensor, mean: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """-log p(operations | z) + β KL(N(mean, variance) ‖ N(0, 1)), the mean over cells.

    Args:
        logits: (B, E, O).
        operations: (B, E).
        mean: (B, latent).
        log_variance: (B, latent).
        beta: β.
    """
    reconstruction = F.cross_entropy(logits.flatten(0, 1), operations.flatten(), reduction="sum")
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
    return (reconstruction + beta * divergence) / len(logits)


def train_embedding(config: Config, generator: torch.Generator) -> tuple[NDArray[np.float64], float]:
    """The places (15,625, latent) of all cells, by number, and the share of held-out cells that are decoded rightly.

    It sees cells, and no accuracy. On the CPU: the network is small, and the places are the same everywhere.
    """
    with torch.random.fork_rng(devices=[]):  # layers begin with draws of the global generator
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        network = GraphAutoencoder(config.state, config.latent)
    chosen = torch.randperm(SPACE_SIZE, generator=generator)[: config.cells]
    types = node_types(chosen.numpy())
    held_out, trained_on = types[: len(types) // 10], types[len(types) // 10 :]
    adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    for epoch in range(config.epochs):
        adam.param_groups[0]["lr"] = cosine(epoch, config.epochs, config.learning_rate, 0.0)
        for rows in torch.split(torch.randperm(len(trained_on), generator=generator), config.embedding_batch):
            batch = trained_on[rows]
            mean, log_variance = network.encode(batch)
            epsilon = config.noise * torch.randn(mean.shape, generator=generator)
            logits = network.decode(mean + epsilon * (0.5 * log_variance).exp())
            loss = autoencoder_loss(logits, batch[:, 1:-1], mean, log_variance, config.beta)
            adam.zero_grad()
            loss.backward()
            adam.step()
    with torch.no_grad():
        right = (network.decode(network.encode(held_out)[0]).argmax(-1) == held_out[:, 1:-1]).all(-1)
        places = [network.encode(part)[0] for part in torch.split(node_types(np.arange(SPACE_SIZE)), 4096)]
    return torch.cat(places).double().numpy(), float(right.double().mean())


def fit_process(places: NDArray[np.float64], accuracies: NDArray[np.float64]) -> Any:
    """A Gaussian process with a Matérn kernel (5/2) and noise, fitted by its marginal likelihood.

    Args:
        places: (n, latent).
        accuracies: (n,) percent; the process standardises them.

    Returns:
        A fitted `sklearn.gaussian_process.GaussianProcessRegressor`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    length = float(np.sqrt(places.shape[1]))
    kernel = ConstantKernel(1.0) * Matern(length, nu=2.5) + WhiteKernel(0.1, (1e-3, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hyperparameter at its bound is still a fit
        return process.fit(places, accuracies)


def expected_improvement(mean: NDArray[np.float64], deviation: NDArray[np.float64], best: float) -> NDArray[np.float64]:
    """E[max(0, y - best)] of y ~ N(mean, deviation²), elementwise."""
    from scipy.special import ndtr

    gain = mean - best
    with np.errstate(divide="ignore", invalid="ignore"):
        u = gain / deviation
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    improvement = gain * ndtr(u) + deviation * density
    return np.asarray(np.where(deviation > 0, improvement, np.maximum(gain, 0)))


class SvgeBo:
    """Bayesian optimisation on an embedding of the cells' graphs."""

    name: ClassVar[str] = "svge-bo"
    paper: ClassVar[str] = "Lukasik, Friede, Zela, Hutter, Keuper 2021, arXiv:2010.04683"
    config_class = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def search(self, queries: Queries, generator: torch.Generator) -> Selection:
        """See `QuerySearch.search`; the notes tell how many held-out cells the embedding decodes rightly."""
        config = self.config
        places, reconstruction = train_embedding(config, generator)
        places = (places - places.mean(0)) / np.maximum(places.std(0), 1e-12)
        order = torch.randperm(SPACE_SIZE, generator=generator).numpy()
        trained = order[: min(config.initial, queries.left)]
        answers = [queries.accuracy(Cell.from_number(number)) for number in trained]
        while queries.left and len(trained) < SPACE_SIZE:
            process = fit_process(places[trained], np.array(answers))
            untrained = np.setdiff1d(np.arange(SPACE_SIZE), trained)
            mean, deviation = process.predict(places[untrained], return_std=True)
            promise = expected_improvement(mean, deviation, max(answers))
            chosen = untrained[np.argsort(-promise, kind="stable")[: min(config.batch, queries.left)]]
            answers += [queries.accuracy(Cell.from_number(number)) for number in chosen]
            trained = np.concatenate([trained, chosen])
        return Selection(cell=queries.best, trace=queries.trace, notes={"reconstruction": reconstruction})
