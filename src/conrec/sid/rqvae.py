"""The RQ-VAE of the paper's appendix A: encoder, residual quantiser with EMA codebooks, decoder.

    X = E(x),  R(1) = X,  Z(d) = nearest codeword of level d to R(d),  R(d+1) = R(d) - Z(d),  X^ = sum of Z(d)
    loss = |x - D(X^)|^2 + lambda * sum over d of |R(d) - sg[Z(d)]|^2

The loss's other half, |sg[R(d)] - Z(d)|^2, is what the moving averages of the codebooks minimise (appendix A.2).
Gradients pass the quantiser straight through.

Encoder and decoder are each a linear map plus a small network. The linear maps start as the principal components
and the networks at zero, so that training starts from residual k-means on PCA and can only bend what that gets
wrong; the codebooks start there, too. Codes that stand for nothing after an epoch move to the worst residuals.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from conrec.config import SidConfig
from conrec.progress import track
from conrec.sid.kmeans import assign, refine, residual_kmeans, revive

BATCH = 512
"""Items in a step at most."""
COMMITMENT = 0.25
"""Lambda of the loss (equation 1)."""
EMA_DECAY = 0.99
"""Share of a codeword's old value that an update of its moving average keeps."""
SEED = 0


class ResidualMlp(nn.Module):
    """A linear map plus a multilayer perceptron that starts at zero."""

    def __init__(self, d_in: int, hidden: tuple[int, ...], d_out: int) -> None:
        super().__init__()
        self.straight = nn.Linear(d_in, d_out)
        layers: list[nn.Module] = []
        for a, b in zip((d_in, *hidden), hidden):
            layers += [nn.Linear(a, b), nn.GELU()]
        last = nn.Linear((d_in, *hidden)[-1], d_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.bend = nn.Sequential(*layers, last)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.straight(x_BD) + self.bend(x_BD)


class RqVae(nn.Module):
    """Joint embeddings [batch, input] to latents [batch, d], codes and back."""

    centre: Tensor
    """[d]: the mean of the encoder's output over the items it was trained on."""

    def __init__(self, d_input: int, sizes: tuple[int, ...], config: SidConfig) -> None:
        super().__init__()
        d = config.dimensions
        self.encoder = ResidualMlp(d_input, config.hidden, d)
        self.decoder = ResidualMlp(d, config.hidden[::-1], d_input)
        # Dead codes are ours to move, see below.
        updates = {"decay": EMA_DECAY, "threshold_ema_dead_code": 0, "rotation_trick": False}
        self.quantiser = ResidualVQ(dim=d, num_quantizers=len(sizes), codebook_size=sizes, **updates)
        self.register_buffer("centre", torch.zeros(d))

    def encode(self, x_BI: Tensor) -> Tensor:
        """Latents [batch, d]."""
        return self.encoder(x_BI) - self.centre

    def decode(self, latent_BD: Tensor) -> Tensor:
        """Joint embeddings [batch, input]."""
        return self.decoder(latent_BD + self.centre)

    def forward(self, x_BI: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction [batch, input] and the commitment losses, one a level, summed over dimensions."""
        latent_BD = self.encode(x_BI)
        quantised_BD, _, commitment_L = self.quantiser(latent_BD)
        through_BD = latent_BD + (quantised_BD - latent_BD).detach()
        return self.decode(through_BD), commitment_L.reshape(-1) * latent_BD.shape[1]

    def codewords(self) -> list[np.ndarray]:
        """Per level float32 [size, d]."""
        return [layer._codebook.embed[0].detach().cpu().numpy().copy() for layer in self.quantiser.layers]

    def set_codewords(self, words: list[np.ndarray], uses: list[np.ndarray], batch_share: float) -> None:
        """Put codebooks in place, with `uses` (int [size], how many items a code stands for) as their inertia.

        `batch_share` is the part of the items that one batch sees, the scale of the moving averages.
        """
        for layer, level_words, level_uses in zip(self.quantiser.layers, words, uses):
            book = layer._codebook
            size = torch.from_numpy(np.maximum(level_uses * batch_share, 1e-3)).float()[None]
            embed = torch.from_numpy(level_words)[None]
            book.embed.copy_(embed)
            book.cluster_size.copy_(size)
            book.embed_avg.copy_(embed * size[..., None])


def train_rqvae(x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> tuple[RqVae, list[dict[str, float]]]:
    """An RQ-VAE of `x` float32 [n, input] and its history: per epoch `reconstruction`, `quantisation`, `dead`.

    With method "kmeans" it stays where it starts: principal components and residual k-means, no epochs.
    Deterministic; the global random state is as before afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = RqVae(x.shape[1], sizes, config)
        history = _train(model, x, sizes, config)
    return model.eval(), history


def _train(model: RqVae, x: np.ndarray, sizes: tuple[int, ...], config: SidConfig) -> list[dict[str, float]]:
    _start_from_pca(model, x, config)
    latents = encode(model, x)
    # A small catalogue still deserves enough steps: twenty an epoch.
    batch = min(BATCH, max(32, len(x) // 20), len(x))
    words = residual_kmeans(latents, sizes, SEED)
    model.set_codewords(words, _uses(assign(latents, words), sizes), batch / len(x))

    epochs = config.epochs if config.method == "rqvae" else 0
    x_NI = torch.from_numpy(x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0)
    steps = max(1, len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * steps))
    history = []
    for _ in track(range(epochs), "RQ-VAE"):
        model.train()
        sums = torch.zeros(2)
        for rows in torch.randperm(len(x))[: steps * batch].view(steps, batch):
            x_BI = x_NI[rows]
            rebuilt_BI, commitment_L = model(x_BI)
            reconstruction = (x_BI - rebuilt_BI).square().sum(dim=1).mean()
            quantisation = commitment_L.sum()
            loss = reconstruction + COMMITMENT * quantisation
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            sums += torch.stack([reconstruction.detach(), quantisation.detach()])
        dead = _revive_dead(model, encode(model, x), batch / len(x))
        history.append(
            {"reconstruction": float(sums[0] / steps), "quantisation": float(sums[1] / steps), "dead": float(dead)}
        )

    # The moving averages trail the encoder; with the encoder at rest the codebooks catch up. The origin goes to the
    # latents' mean, around which cosines are spread.
    latents = encode(model, x)
    centre = latents.mean(axis=0)
    model.centre += torch.from_numpy(centre)
    words = model.codewords()
    words[0] -= centre
    words = refine(latents - centre, words)
    model.set_codewords(words, _uses(assign(latents - centre, words), sizes), batch / len(x))
    return history


def encode(model: RqVae, x: np.ndarray, block: int = 8192) -> np.ndarray:
    """Latents float32 [n, d] of joint embeddings float32 [n, input]."""
    with torch.no_grad():
        parts = [model.encode(torch.from_numpy(x[n : n + block])).numpy() for n in range(0, len(x), block)]
    return np.concatenate(parts) if parts else np.zeros((0, len(model.centre)), np.float32)


def decode(model: RqVae, latents: np.ndarray, block: int = 8192) -> np.ndarray:
    """Joint embeddings float32 [n, input] rebuilt from latents (quantised or not) float32 [n, d]."""
    with torch.no_grad():
        parts = [model.decode(torch.from_numpy(latents[n : n + block])).numpy() for n in range(0, len(latents), block)]
    return np.concatenate(parts)


def _start_from_pca(model: RqVae, x: np.ndarray, config: SidConfig) -> None:
    """The linear maps to the principal components and back."""
    width = min(config.dimensions, *x.shape)
    pca = PCA(width, svd_solver="randomized", random_state=SEED).fit(x)
    components = np.zeros((config.dimensions, x.shape[1]), np.float32)
    components[:width] = pca.components_
    components_DI, mean_I = torch.from_numpy(components), torch.from_numpy(pca.mean_.astype(np.float32))
    with torch.no_grad():
        model.encoder.straight.weight.copy_(components_DI)
        model.encoder.straight.bias.copy_(-components_DI @ mean_I)
        model.decoder.straight.weight.copy_(components_DI.T)
        model.decoder.straight.bias.copy_(mean_I)


def _revive_dead(model: RqVae, latents: np.ndarray, batch_share: float) -> int:
    """Move codes that stand for nothing to the worst residuals; how many there were."""
    words = model.codewords()
    found = 0
    for level in range(len(words)):
        codes = assign(latents, words)
        uses = np.bincount(codes[:, level], minlength=len(words[level]))
        if (uses == 0).any():
            found += int((uses == 0).sum())
            revive(latents, codes, words, level, uses == 0)
            book = model.quantiser.layers[level]._codebook
            moved = torch.from_numpy(np.flatnonzero(uses == 0))
            book.embed[0, moved] = torch.from_numpy(words[level])[moved]
            book.cluster_size[0, moved] = batch_share
            book.embed_avg[0, moved] = book.embed[0, moved] * batch_share
    return found


def _uses(codes: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Number of items of each code, int [size] per level."""
    return [np.bincount(codes[:, level], minlength=size) for level, size in enumerate(sizes)]
