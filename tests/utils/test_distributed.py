import torch

from fer.utils.distributed import all_gather, all_gather_with_grad, rank_rows
from tests.objectives.ranks import rank_weights


def test_one_process_has_all_rows():
    rows = torch.randn(3, 2, requires_grad=True)
    assert all_gather_with_grad(rows) is rows
    assert torch.equal(all_gather(rows), rows)
    assert not all_gather(rows).requires_grad
    assert torch.equal(rank_rows(rows, 3), rows)


def test_rows_are_joined_in_the_order_of_the_ranks(two_ranks):
    expected = torch.cat([torch.arange(6.0).view(2, 3), 10 + torch.arange(6.0).view(2, 3)])
    for rank, results in enumerate(two_ranks):
        assert torch.equal(results["gathering"]["joined"], expected)
        assert torch.equal(results["gathering"]["plain"], expected)
        assert torch.equal(results["gathering"]["own"], expected[2 * rank : 2 * rank + 2])


def test_a_row_gets_its_gradient_from_the_losses_of_all_ranks(two_ranks):
    total = rank_weights(0) + rank_weights(1)
    for rank, results in enumerate(two_ranks):
        torch.testing.assert_close(results["gathering"]["gradient"], total[2 * rank : 2 * rank + 2])
