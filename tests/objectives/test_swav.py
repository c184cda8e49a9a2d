import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from fer.objectives.swav import SwAV, sinkhorn, swapped_loss
from tests.objectives.ranks import SMALL, Tiny, draw, project

SIZES = (8, 8, 6, 6)


def make(seed=0, still=True, **options):
    """A small SwAV; `still` makes its embeddings independent of the batch."""
    torch.manual_seed(seed)
    objective = SwAV(Tiny(), replace(SMALL, **options), proj_dim=5, steps_per_epoch=1)
    if still:
        objective.head.eval()
    return objective


def numpy_sinkhorn(scores, epsilon, iterations):
    """The paper's pseudo-code: prototypes in rows, exponentials as they are."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    prototypes, images = q.shape
    for _ in range(iterations):
        for k in range(prototypes):
            q[k] /= q[k].sum() * prototypes
        for b in range(images):
            q[:, b] /= q[:, b].sum() * images
    return (q * images).T


def numpy_loss(scores, assignments, temperature):
    """Equation 2 by loops over pairs of views and images."""
    terms = []
    for large in range(2):
        for view in range(len(scores)):
            if view != large:
                for q, s in zip(assignments[large], scores[view], strict=True):
                    p = np.exp(s / temperature) / np.exp(s / temperature).sum()
                    terms.append(-float(q @ np.log(p)))
    return np.mean(terms)


def embeddings_of(objective, views):
    return [project(objective, view).detach().double().numpy() for view in views]


def prototypes_of(objective):
    weight = objective.prototypes.weight.detach().double().numpy()
    return weight / np.linalg.norm(weight, axis=1, keepdims=True)


def expected_loss(objective, views, queue=None):
    """The loss by numpy, the queue's rows `(2, Q, d)` put before the batch's by hand."""
    rows, prototypes = embeddings_of(objective, views), prototypes_of(objective)
    assignments = []
    for large in range(2):
        joined = rows[large] if queue is None else np.concatenate([queue[large], rows[large]])
        assignments.append(numpy_sinkhorn(joined @ prototypes.T, 0.05, 3)[-len(rows[large]) :])
    return numpy_loss([r @ prototypes.T for r in rows], assignments, 0.1)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.03, 0.05, 0.5])
def test_sinkhorn_equals_the_pseudo_code(epsilon, iterations):
    scores = np.random.default_rng(0).uniform(-1, 1, size=(12, 5))
    found = sinkhorn(torch.tensor(scores), epsilon, iterations)
    np.testing.assert_allclose(found.numpy(), numpy_sinkhorn(scores, epsilon, iterations), rtol=1e-4, atol=1e-7)


def test_sinkhorn_balances_rows_and_columns():
    scores = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))
    scores[:, 0] += 0.5  # every row likes the first prototype best
    found = sinkhorn(scores, 0.1, 200)
    torch.testing.assert_close(found.sum(1), torch.ones(40))
    torch.testing.assert_close(found.sum(0), torch.full((5,), 8.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("epsilon", [0.05, 1e-3])
def test_sinkhorn_stays_finite_in_low_precision_and_at_low_entropy(dtype, epsilon):
    scores = torch.linspace(-1, 1, 60).view(12, 5).to(dtype)
    found = sinkhorn(scores, epsilon, 3)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(1), torch.ones(12))


def test_loss_equals_loops_over_views_and_images():
    objective, views = make(), draw(0, sizes=SIZES)
    assert float(objective(views)[0]) == pytest.approx(expected_loss(objective, views), rel=1e-4)


def test_the_loss_of_improbable_prototypes_is_finite():
    scores = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]])
    assignments = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
    # Equation 2 by hand: view 1 gives prototype 0 a log probability of -2 / 0.001, view 0 gives it one of 0.
    assert float(swapped_loss(scores, assignments, 0.001)) == pytest.approx(1000)


def test_the_queue_joins_the_assignments_once_it_is_due_and_full():
    objective = make(queue_size=10, queue_from_epoch=1)
    batches = [draw(seed, sizes=SIZES) for seed in range(5)]
    seen = np.zeros((2, 0, 5))
    for step, views in enumerate(batches):
        used = seen[:, :10] if seen.shape[1] >= 10 and step >= 1 else None
        assert (used is not None) == (step >= 2)
        loss = float(objective(views)[0])
        assert loss == pytest.approx(expected_loss(objective, views, used), rel=1e-4)
        if used is not None:
            assert loss != pytest.approx(expected_loss(objective, views), rel=1e-4)
        seen = np.concatenate([embeddings_of(objective, views[:2]), seen], axis=1)
        rows = min(seen.shape[1], 10)
        np.testing.assert_allclose(objective.queue[:, :rows].numpy(), seen[:, :10], rtol=1e-4, atol=1e-6)


def test_a_full_queue_waits_until_it_is_due_and_a_batch_may_exceed_it():
    objective = make(queue_size=4, queue_from_epoch=3)
    for step in range(5):
        views = draw(step, sizes=SIZES)
        before = objective.queue.double().numpy().copy() if step >= 3 else None
        assert float(objective(views)[0]) == pytest.approx(expected_loss(objective, views, before), rel=1e-4)
        np.testing.assert_allclose(
            objective.queue.numpy(), [rows[:4] for rows in embeddings_of(objective, views[:2])], rtol=1e-4, atol=1e-6
        )


def test_evaluation_leaves_steps_and_queue_alone():
    objective = make(queue_size=6).eval()
    objective(draw(0))
    assert int(objective.steps) == 0
    assert not objective.queue.any()


def test_prototypes_are_normalised_and_stay_as_drawn_while_frozen():
    objective = make(freeze_prototypes_epochs=2)
    drawn, network = prototypes_of(objective), objective.network.body[0].weight.detach().clone()
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
    for step in range(4):
        loss, _ = objective(draw(step, sizes=SIZES))
        torch.testing.assert_close(objective.prototypes.weight.detach().norm(dim=1), torch.ones(4))
        optimizer.zero_grad()
        loss.backward()
        # Zeros, and not no gradient, for which DDP would wait.
        assert bool(objective.prototypes.weight.grad.any()) == (step >= 2)
        optimizer.step()
        assert np.allclose(prototypes_of(objective), drawn, atol=1e-6) == (step < 2)
    assert not torch.equal(objective.network.body[0].weight, network)


def test_no_gradient_passes_the_assignments():
    objective, views = make(), draw(0, sizes=SIZES)
    found = torch.autograd.grad(objective(views)[0], list(objective.parameters()))
    scores = torch.stack([project(objective, view) @ objective.prototypes.weight.T for view in views])
    constant = torch.stack([sinkhorn(torch.tensor(view.tolist()), 0.05, 3) for view in scores[:2]])
    expected = torch.autograd.grad(swapped_loss(scores, constant, 0.1), list(objective.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_views_of_one_size_pass_the_network_as_one_batch():
    objective = make()
    objective(draw(0, sizes=SIZES))
    assert objective.network.calls == [(12, 3, 8, 8), (12, 3, 6, 6)]


def test_a_resumed_training_goes_on_exactly():
    options = {"queue_size": 10, "queue_from_epoch": 2, "freeze_prototypes_epochs": 3}
    straight = make(still=False, **options)
    stopped = copy.deepcopy(straight)

    def go(objective, steps):
        optimizer = torch.optim.SGD(objective.parameters(), lr=0.3)
        for step in steps:
            optimizer.zero_grad()
            objective(draw(step, sizes=SIZES))[0].backward()
            optimizer.step()

    go(straight, range(6))
    go(stopped, range(2))
    resumed = make(seed=1, still=False, **options)
    resumed.load_state_dict(stopped.state_dict())
    go(resumed, range(2, 6))
    for key, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_loss_and_assignments_are_float32_under_autocast():
    objective, views = make(queue_size=6), draw(0)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            loss, logs = objective(views)
            assert loss.dtype == logs["assignment_entropy"].dtype == torch.float32
            assert loss.isfinite()
    assert objective.queue.dtype == torch.float32


def test_logs_tell_used_prototypes_and_entropy():
    objective, views = make(), draw(0)
    _, logs = objective(views)
    prototypes = prototypes_of(objective)
    q = np.concatenate([numpy_sinkhorn(r @ prototypes.T, 0.05, 3) for r in embeddings_of(objective, views)])
    assert float(logs["prototypes_used"]) == pytest.approx(len(set(q.argmax(1))) / 4)
    assert float(logs["assignment_entropy"]) == pytest.approx(-(q * np.log(q)).sum(axis=1).mean() / np.log(4), rel=1e-3)
    assert not any(value.requires_grad for value in logs.values())


@pytest.mark.parametrize("name", ["swav", "swav-queue"])
def test_two_processes_train_as_one_does(check_ranks, name):
    check_ranks(name)
