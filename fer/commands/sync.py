"""`sync`: deliver what runs have left on this machine, and close runs whose process died."""

from pathlib import Path

from fer.config.commands import SyncConfig
from fer.errors import FerError, quoted_path
from fer.tracking import store
from fer.tracking.leftovers import close_dead_runs, remove_finished
from fer.tracking.sync import spools_in, sync_run


def run(config: SyncConfig) -> None:
    """Deliver the spools in a folder, one after the other.

    Raises:
        FerError: The store cannot be had, or something could not be delivered.
    """
    root = Path(config.output).resolve()
    folders = spools_in(root)
    address = store.connect()
    results = []
    for folder in folders:
        results.append(sync_run(address, folder))
        print(results[-1].message, flush=True)
    tidied = close_dead_runs(address, print) + remove_finished(address, root, print)
    if not folders and not tidied:
        print(f"nothing waits in {root}, and no run in the store is left open")
    left = [result for result in results if not result.done]
    if left:
        raise FerError(
            f"{len(left)} of {len(folders)} runs in {quoted_path(root)} are not delivered whole, as said above"
        )
