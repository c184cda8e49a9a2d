import os
import signal
import subprocess
import sys

import pytest

from fer.errors import Interrupted
from fer.utils.processes import STOPPING, deferring, interrupting


@pytest.mark.parametrize("number", STOPPING)
def test_a_deferred_signal_alone_leaves_the_process_as_it_was(number):
    before = {each: signal.getsignal(each) for each in STOPPING}
    with deferring() as request:
        os.kill(os.getpid(), number)
    assert request.signum == number
    assert {each: signal.getsignal(each) for each in STOPPING} == before


def test_processes_started_after_a_deferred_signal_still_hear_one():
    with deferring():
        os.kill(os.getpid(), signal.SIGTERM)
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == -signal.SIGTERM


def test_what_follows_a_deferred_signal_is_not_interrupted_until_the_end():
    before = signal.getsignal(signal.SIGTERM)
    saved = False
    with interrupting():
        with deferring() as request:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        saved = True
    assert saved and request.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_interrupts_once():
    with pytest.raises(Interrupted), interrupting():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # the clean-up goes on
            cleaned = True
    assert cleaned


def test_a_signal_taken_within_is_the_last_that_what_is_around_it_hears():
    with interrupting():
        with pytest.raises(Interrupted), interrupting():
            signal.raise_signal(signal.SIGTERM)
        # The clean-up of what is around it is not cut short.
        signal.raise_signal(signal.SIGTERM)
        with interrupting():
            pass
        with pytest.raises(Interrupted), interrupting():
            signal.raise_signal(signal.SIGINT)
