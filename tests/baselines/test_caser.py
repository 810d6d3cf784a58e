from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from conrec.baselines.caser import TARGETS, Caser
from conrec.features.sequences import Batch
from tests.baselines.planted import chain


@pytest.fixture(scope="module")
def system() -> Caser:
    known, _ = chain()
    system = Caser(width=8, epochs=1, order=4)
    system.fit(replace(known, validation=None))
    return system


def windows() -> Batch:
    tokens = torch.tensor([[3, 1, 4, 7, 5], [9, 2, 6, 0, 0]])
    wanted = torch.tensor([[False, True, False, True, True], [False, False, True, False, False]])
    return Batch(tokens, (tokens != 0).long(), wanted, torch.tensor([5, 2]))


def test_every_wanted_event_has_what_came_before_and_the_next_wanted(system: Caser) -> None:
    batch = windows()
    tokens, marks, owners, wanted = system.unrolled(batch)
    expected = []
    for row, sequence in enumerate(batch.tokens.tolist()):
        places = batch.wanted[row].nonzero()[:, 0].tolist()
        for n, place in enumerate(places):
            before = ([0] * 4 + sequence[:place])[-4:]
            following = [sequence[p] for p in places[n : n + TARGETS]]
            expected.append((before, int(batch.owners[row]), (following + [0] * TARGETS)[:TARGETS]))
    assert list(zip(tokens.tolist(), owners.tolist(), wanted.tolist())) == expected
    assert ((marks != 0) == (tokens != 0)).all()


def test_the_network_against_its_equations(system: Caser) -> None:
    network = system.network
    tokens = torch.tensor([[0, 3, 1, 4]])
    with torch.no_grad():
        image = network.items.weight[tokens[0]]
        parts = []
        for filters in network.horizontal:
            height = filters.weight.shape[2]
            places = [image[p : p + height] for p in range(4 - height + 1)]
            answers = [F.relu((filters.weight[:, 0] * place).sum((1, 2)) + filters.bias) for place in places]
            parts.append(torch.stack(answers).amax(0))
        down = F.relu(
            torch.einsum("fl,ld->fd", network.vertical.weight[:, 0, :, 0], image) + network.vertical.bias[:, None]
        )
        z = F.relu(network.hidden(torch.cat([*parts, down.flatten()])))
        found = network(tokens, torch.ones_like(tokens), torch.tensor([7]))[0]
        assert torch.allclose(found, torch.cat([z, network.users.weight[7]]), atol=1e-5)
        stranger = network(tokens, torch.ones_like(tokens), torch.tensor([len(network.users.weight)]))[0]
        assert torch.allclose(stranger[8:], network.users.weight.mean(0), atol=1e-6)


def test_it_asks_with_the_newest_events(system: Caser) -> None:
    batch = windows()
    with torch.no_grad():
        asked = system.logits(Batch(batch.tokens[:, :4], batch.marks[:, :4], batch.wanted[:, :4], batch.owners))
        for row, newest in enumerate(([3, 1, 4, 7], [0, 9, 2, 6])):
            tokens = torch.tensor([newest])
            state = system.network(tokens, (tokens != 0).long(), batch.owners[row : row + 1])
            expected = (state @ system.network.output.weight.T + system.network.bias)[0, 1:]
            assert torch.allclose(asked[row], expected, atol=1e-5)


@pytest.mark.parametrize("loss", ["binary", "softmax"])
def test_losses_against_their_formulas(system: Caser, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "loss_name", loss)
    monkeypatch.setattr(
        "conrec.baselines.caser.negatives", lambda own, wanted, targets, generator: wanted % targets + 1
    )
    batch = windows()
    system.network.eval()
    with torch.no_grad():
        found = float(system.loss(batch, torch.Generator()))
        tokens, marks, owners, wanted = system.unrolled(batch)
        logits = (system.network(tokens, marks, owners) @ system.network.output.weight.T + system.network.bias)[:, 1:]
        values = []
        for row, truths in zip(logits, wanted.tolist()):
            for truth in filter(None, truths):
                if loss == "softmax":
                    values.append(-float(torch.log_softmax(row, 0)[truth - 1]))
                    continue
                drawn = truth % system.tokens.targets
                values.append(float(F.softplus(-row[truth - 1]) + TARGETS * F.softplus(row[drawn])))
    assert found == pytest.approx(sum(values) / len(values), rel=1e-5)
