"""Equations 3 and 4 against numbers worked out the slow way."""

import math

import pytest
import torch

from conrec.train.grpo import advantages, grpo_loss


def test_advantages_are_normalised_within_the_group():
    reward = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    advantage, useful = advantages(reward)
    assert useful.tolist() == [True, False]
    torch.testing.assert_close(advantage[0], torch.tensor([-1.0, 0.0, 1.0]))
    assert (advantage[1] == 0).all()


def test_loss_equals_equation_3_written_as_loops():
    generator = torch.Generator().manual_seed(0)
    new, old, reference = (torch.randn(3, 4, 3, generator=generator) * 0.3 - 1 for _ in range(3))
    advantage, useful = advantages(torch.randn(3, 4, generator=generator))
    eps, beta = 0.2, 0.07
    total = 0.0
    for b in range(3):
        for g in range(4):
            for t in range(3):
                ratio = math.exp(new[b, g, t] - old[b, g, t])
                a = float(advantage[b, g])
                q = math.exp(reference[b, g, t] - new[b, g, t])
                gain = min(ratio * a, min(max(ratio, 1 - eps), 1 + eps) * a)
                total += (gain - beta * (q - math.log(q) - 1)) / (3 * 4 * 3)
    loss = grpo_loss(new, old, reference, advantage, useful, epsilon=eps, beta=beta)
    assert float(loss.value) == pytest.approx(-total, abs=1e-5)


def test_a_zero_variance_group_gives_no_gradient_not_even_of_the_kl():
    new = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    reward = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    advantage, useful = advantages(reward)
    grpo_loss(new, new.detach(), new.detach() + 1, advantage, useful, epsilon=0.2, beta=1.0).value.backward()
    assert (new.grad[0] == 0).all()
    assert (new.grad[1] != 0).all()


def test_nothing_useful_is_an_exact_zero():
    new = torch.zeros(1, 2, 3, requires_grad=True)
    advantage, useful = advantages(torch.ones(1, 2))
    loss = grpo_loss(new, new.detach(), new.detach() + 1, advantage, useful, epsilon=0.2, beta=1.0)
    loss.value.backward()
    assert loss.value.item() == 0
    assert (new.grad == 0).all()
