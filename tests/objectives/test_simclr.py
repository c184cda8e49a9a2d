from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fer.objectives.simclr import SimCLR, nt_xent
from tests.objectives.ranks import SMALL, Tiny, draw, project


def pairs(count=7, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(count, width, generator=generator)
    second = first + 0.7 * torch.randn(count, width, generator=generator)
    return F.normalize(first, dim=1), F.normalize(second, dim=1)


def reference(first, second, temperature):
    """Equation 1 of the paper, view by view; and the share of views whose nearest is their partner."""
    rows = np.concatenate([first.double().numpy(), second.double().numpy()])
    count, losses, found = len(first), [], []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = [k for k in range(2 * count) if k != i]
        similar = {k: float(rows[i] @ rows[k]) / temperature for k in others}
        losses.append(-similar[partner] + np.log(sum(np.exp(similar[k]) for k in others)))
        found.append(max(others, key=similar.get) == partner)
    return np.mean(losses), np.mean(found)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_loss_and_accuracy_equal_a_loop_over_views(count, temperature):
    first, second = pairs(count)
    loss, accuracy = nt_xent(first, second, temperature)
    expected = reference(first, second, temperature)
    assert (float(loss), float(accuracy)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_accuracy_is_neither_0_nor_1_by_construction():
    assert 0 < float(nt_xent(*pairs(20), 0.5)[1]) < 1
    same = torch.eye(4)
    assert float(nt_xent(same, same, 0.5)[1]) == 1


def test_gradient_is_that_of_finite_differences():
    first, second = (rows.double().requires_grad_() for rows in pairs(3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3)[0], (first, second))


def test_the_loss_is_float32_under_autocast():
    first, second = pairs(40)
    plain = nt_xent(first, second, 0.1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nt_xent(first, second, 0.1)[0], plain)
        objective = SimCLR(Tiny(), SMALL, proj_dim=5, steps_per_epoch=1)
        loss, _ = objective(draw(0))
        assert loss.dtype == project(objective, draw(0)[0]).dtype == torch.float32


def test_both_views_pass_the_network_as_one_batch_and_the_head_projects_them():
    objective = SimCLR(Tiny(), replace(SMALL, temperature=0.2), proj_dim=5, steps_per_epoch=1)
    views = draw(0)
    loss, logs = objective(views)
    assert objective.network.calls == [(12, 3, 8, 8)]
    projected = project(objective, torch.cat(views))
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(12))
    expected, accuracy = nt_xent(projected[:6], projected[6:], 0.2)
    torch.testing.assert_close(loss, expected)
    assert logs.keys() == {"contrastive_accuracy"}
    assert float(logs["contrastive_accuracy"]) == float(accuracy)
    assert not logs["contrastive_accuracy"].requires_grad
    loss.backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    objective = SimCLR(Tiny(), replace(SMALL, proj_hidden_dim=16, temperature=0.2), proj_dim=8, steps_per_epoch=1)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(30):
        loss, _ = objective(draw(step % 3, images=12))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_two_processes_train_as_one_does(check_ranks):
    check_ranks("simclr")
