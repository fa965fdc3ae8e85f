"""dm2.training.stop_signals: which signals are noted, and which end the process at once."""

import signal

import pytest

from dm2.training.stop_signals import StopSignals


def test_sighup_never_counts_as_the_second_signal_and_stays_ignored_under_nohup() -> None:
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.received == "SIGHUP"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_the_process_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell started the tests in the background
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
