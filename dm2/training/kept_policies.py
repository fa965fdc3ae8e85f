"""The observer that keeps the policies of the settings' `policy_percents`."""

from __future__ import annotations

from dm2.training.loop import Training


def keep_due_policies(training: Training) -> None:
    """Keep the policy under each percent of the training that has been reached."""
    book, settings = training.logbook, training.settings
    for percent in settings.policy_percents:
        if percent not in book.policies_kept and 100 * book.env_steps >= percent * settings.env_steps:
            training.save_policy(training.run.policy_so_far(percent), percent)
            book.policies_kept.append(percent)
