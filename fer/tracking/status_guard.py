"""Keep a stopped run KILLED after its launcher has ended.

`mlflow run` marks its run FAILED whenever the program did not succeed: it means to spare runs that have ended, but
compares the status's name with numbers (3.17). The launcher writes last, so the truth has to be written after it, by a
small process that outlives both.
"""

import os
import subprocess
import sys
import time

import mlflow

KILLED = "KILLED"
LAUNCHER_SECONDS = 60.0
"""How long the launcher is waited for."""
WATCH_SECONDS = 5.0
"""How long the run is looked after once the launcher has ended; between us and MLflow a shell may end first."""


def keep_killed(run_id: str, address: str) -> None:
    """Start the process that waits for this one's parent to end and then sets the run's status.

    Args:
        run_id: The run, which is KILLED by now.
        address: Its store.
    """
    command = [sys.executable, "-m", "fer.tracking.status_guard", run_id, address, str(os.getppid())]
    # In a session of its own: a signal to the launcher's process group must not end it.
    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_and_set(run_id: str, address: str, launcher: int) -> None:
    """Wait for the launcher to end, then see to it for a while that the run is KILLED.

    Args:
        run_id: The run.
        address: Its store.
        launcher: The launcher's process id.
    """
    client = mlflow.MlflowClient(address)
    deadline = time.monotonic() + LAUNCHER_SECONDS
    while _is_alive(launcher) and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if client.get_run(run_id).info.status != KILLED:
            client.set_terminated(run_id, KILLED)
        time.sleep(0.5)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user
    return True


if __name__ == "__main__":
    wait_and_set(sys.argv[1], sys.argv[2], int(sys.argv[3]))
