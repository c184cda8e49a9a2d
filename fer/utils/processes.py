"""Read which of several training processes this one is, as torchrun starts them."""

import os
import sys


def rank() -> int:
    """Return this process's number among all; 0 where there is only one."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return this process's number on its machine, which is also its GPU's."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Return how many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def exit_nonzero_ranks() -> None:
    """End every process but the first: their part, the training, is done, and one of them logs and tests."""
    if rank() > 0:
        sys.exit(0)
