"""Bolts' parts as they are used here, and its faults beside their corrections."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer.models import bolts
from fer.objectives.simclr import nt_xent
from fer.objectives.simsiam import SimSiam
from fer.objectives.swav import SwAV, sinkhorn, swapped_loss
from tests.objectives.ranks import SMALL, project

pytestmark = pytest.mark.filterwarnings("ignore")


class Tiny(nn.Module):
    """Features of a few pixels."""

    features = 12

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def forward(self, images):
        return self.body(images / 255)


class Listed(Tiny):
    """The same, in a list as bolts expects."""

    def forward(self, images):
        return [super().forward(images)]


def bolts_swav_loss(**options):
    from pl_bolts.models.self_supervised.swav.loss import SWAVLoss

    usual = {"temperature": 0.1, "epsilon": 0.05, "sinkhorn_iterations": 3, "gpus": 0, "num_nodes": 1}
    return SWAVLoss(crops_for_assign=(0, 1), num_crops=(2, 1), **usual | options)


def bolts_simsiam(*args, **options):
    from pl_bolts.models.self_supervised import SimSiam as Theirs

    return Theirs(*args, **options)


def swav(**options):
    torch.manual_seed(0)
    return SwAV(Tiny(), replace(SMALL, queue_from_epoch=0, **options), proj_dim=5, steps_per_epoch=1)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def images(seed=0):
    return 255 * torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_bolts_is_imported_late_and_in_silence():
    script = (
        "import sys, warnings, torch\n"
        "import fer.objectives.registry, fer.objectives.features\n"
        "assert not {'pl_bolts', 'sklearn'} & set(sys.modules)\n"
        "filters = list(warnings.filters)\n"
        "import fer.models.bolts as b\n"
        "head = b.simclr_head(4, 3, 2); b.mlp(4, 3, 2)\n"
        "assert warnings.filters == filters\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_heads_are_the_papers_layers():
    features = torch.randn(6, 12)
    assert bolts.mlp(12, 8, 5)(features).shape == (6, 5)
    torch.testing.assert_close(bolts.simclr_head(12, 8, 5)(features).norm(dim=1), torch.ones(6))
    projector = bolts.simsiam_projector(12, 8, 5)
    kinds = [type(part) for part in projector.modules() if not list(part.children())]
    layer = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*layer, *layer, nn.Linear, nn.BatchNorm1d]
    # The last batch norm leaves nothing to learn: mean 0 and variance 1 in each dimension.
    projected = projector(features)
    torch.testing.assert_close(projected.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    assert projected.var(0, correction=0).min() > 0.9


def test_without_a_queue_both_swav_losses_are_equal():
    prototypes, embeddings = unit(4, 5, seed=1), unit(3, 6, 5)
    scores = embeddings @ prototypes.T
    theirs, _, _ = bolts_swav_loss()(scores.flatten(0, 1), embeddings.flatten(0, 1), prototypes, 6)
    assignments = torch.stack([sinkhorn(view, 0.05, 3) for view in scores[:2]])
    torch.testing.assert_close(swapped_loss(scores, assignments, 0.1), theirs)


def test_fault_a_queue_breaks_bolts_swav_and_not_ours():
    scores, embeddings, prototypes = torch.rand(18, 4), unit(18, 5), unit(4, 5)
    with pytest.raises(AttributeError, match="queue"):
        bolts_swav_loss()(scores, embeddings, prototypes, 6, queue=torch.zeros(2, 12, 5))
    objective = swav(queue_size=12)
    losses = [float(objective([images(step), images(step + 9)])[0]) for step in range(4)]
    assert objective.queue.norm(dim=2).min() > 0.99, "the queue is full, so it was used in the last two steps"
    assert all(loss < 10 for loss in losses)


@pytest.mark.parametrize(("dtype", "epsilon"), [(torch.float16, 0.05), (torch.bfloat16, 0.01), (torch.float32, 0.01)])
def test_fault_bolts_exponentials_overflow_and_ours_do_not(dtype, epsilon):
    scores = torch.linspace(-1, 1, 24).view(6, 4).to(dtype)
    theirs = bolts_swav_loss()
    assert not theirs.sinkhorn(torch.exp(scores / epsilon).t(), 3).isfinite().all()
    assert sinkhorn(scores, epsilon, 3).isfinite().all()


def test_fault_bolts_logarithm_of_a_softmax_overflows_and_ours_does_not():
    scores = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(3, 1)
    theirs, _, _ = bolts_swav_loss(temperature=0.01)(scores, unit(6, 5), unit(2, 5), 2)
    assert not theirs.isfinite()
    views = scores.view(3, 2, 2)
    assignments = torch.stack([sinkhorn(view, 0.05, 3) for view in views[:2]])
    assert swapped_loss(views, assignments, 0.01).isfinite()


def test_fault_bolts_contrastive_loss_overflows_at_low_temperature_and_ours_does_not():
    from pl_bolts.models.self_supervised.simclr.simclr_module import SimCLR

    first, second = unit(6, 5), unit(6, 5, seed=1)
    theirs = SimCLR.nt_xent_loss(None, first, second, 0.5)
    torch.testing.assert_close(nt_xent(first, second, 0.5)[0], theirs, rtol=1e-4, atol=0)
    with pytest.raises(RuntimeError, match="overflow"):
        SimCLR.nt_xent_loss(None, first, first, 0.01)
    assert nt_xent(first, first, 0.01)[0].isfinite()


def test_fault_bolts_asks_by_an_argument_for_a_gpu_and_ours_computes_where_the_tensors_are():
    scores = torch.rand(6, 4)
    with pytest.raises((RuntimeError, AssertionError)):
        bolts_swav_loss(gpus=1).sinkhorn(torch.exp(scores).t(), 3)
    assert sinkhorn(scores, 1.0, 3).device == scores.device


def test_fault_bolts_simsiam_aims_at_its_random_start_and_ours_at_itself():
    theirs = bolts_simsiam(
        base_encoder=Listed(), encoder_out_dim=12, projector_hidden_dim=8, projector_out_dim=6, predictor_hidden_dim=4
    )
    torch.manual_seed(0)
    ours = SimSiam(Tiny(), SMALL, proj_dim=6, steps_per_epoch=1)
    start = {name: value.clone() for name, value in theirs.target_network.named_parameters()}
    target = project(ours, images()).detach()
    for module, step in (
        (theirs, lambda views: theirs.calculate_loss(*views) + theirs.calculate_loss(*views[::-1])),
        (ours, lambda views: ours(views)[0]),
    ):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        for seed in range(3):
            optimizer.zero_grad()
            step([images(seed), images(seed + 9)]).backward()
            optimizer.step()
    for name, value in theirs.target_network.named_parameters():
        assert torch.equal(value, start[name]), name
        if name.endswith("weight"):
            assert not torch.equal(theirs.online_network.get_parameter(name), value), name
    assert not torch.allclose(project(ours, images()), target, atol=1e-3)


def test_fault_bolts_cannot_load_a_simsiam_on_resnet18_and_ours_can(tmp_path):
    import pytorch_lightning

    theirs = bolts_simsiam(base_encoder="resnet18", encoder_out_dim=512, projector_hidden_dim=8, projector_out_dim=6)
    stored = {
        "state_dict": theirs.state_dict(),
        "hyper_parameters": dict(theirs.hparams),
        "pytorch-lightning_version": pytorch_lightning.__version__,
    }
    torch.save(stored, tmp_path / "theirs.ckpt")
    with pytest.raises(RuntimeError, match=r"Error.* loading state_dict"):
        type(theirs).load_from_checkpoint(tmp_path / "theirs.ckpt")

    ours = SimSiam(Tiny(), SMALL, proj_dim=6, steps_per_epoch=1)
    torch.save(ours.state_dict(), tmp_path / "ours.pt")
    other = SimSiam(Tiny(), SMALL, proj_dim=6, steps_per_epoch=1)
    other.load_state_dict(torch.load(tmp_path / "ours.pt", weights_only=True))
    assert torch.equal(project(other, images()), project(ours, images()))
