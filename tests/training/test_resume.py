"""dm2.training.resume: what differs between two runs, and the logbook; resuming itself is tested in test_loop.py."""

from dm2.training.resume import Logbook, differences


def test_differences_name_the_keys() -> None:
    assert differences({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 2, "c": [1]}, "e": 3}) == [
        "a.b: found 1, expected 2",
        "d: found 2, expected None",
        "e: found None, expected 3",
    ]


def test_logbook_means() -> None:
    book = Logbook()
    book.count_losses({"a": 1.0})
    book.count_losses({"a": 2.0, "b": 5.0})
    assert book.take_mean_losses() == {"a": 1.5, "b": 5.0}
    assert book.take_mean_losses() == {}
