import pytest
import torch

from tests.objectives.ranks import make, trained


@pytest.fixture
def check_ranks(two_ranks):
    """A check that two processes trained as one does on the global batch."""

    def check(name: str) -> None:
        alone = trained(name, make(name))
        pairs = list(zip(*(rank[name]["losses"] for rank in two_ranks), strict=True))
        assert [sum(pair) / 2 for pair in pairs] == pytest.approx(alone["losses"], rel=1e-5)
        assert any(abs(first - second) > 1e-3 for first, second in pairs), "each rank has a loss of its own"
        for part, limits in (("gradients", {"rtol": 1e-3, "atol": 1e-6}), ("state", {"rtol": 1e-4, "atol": 1e-6})):
            for key, value in alone[part].items():
                torch.testing.assert_close(two_ranks[0][name][part][key], value, **limits, msg=lambda m, k=key: k + m)
                assert torch.equal(two_ranks[0][name][part][key], two_ranks[1][name][part][key]), key
        assert any(value.abs().max() > 1e-3 for value in alone["gradients"].values())

    return check


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks are drawn anew in most tests: one in some hundred has an image whose hidden units are all dead."""
    torch.manual_seed(0)
