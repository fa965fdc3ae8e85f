"""TensorBoard's event files of a run, beside its metrics.csv and with the same numbers."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dm2.core.errors import UserError
from dm2.training.loop import Training
from dm2.training.resume import Row

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NOT_DRAWN = ("seed", "env_steps")
"""Numbers of metrics.csv that are no curve: who, and the axis."""


class EventFiles:
    """The observer that writes the rows of metrics.csv as scalars over env steps.

    The first call writes all evaluations so far to a new file that makes TensorBoard forget those of older files: a run
    that was stopped and goes on shows each evaluation once, whether or not event files were asked for before. The older
    files stay, since TensorBoard stops following a folder whose newest file is gone.

    Args:
        folder: where the files are.

    Raises:
        UserError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise UserError(
                "--tensorboard: found no package tensorboard, expected it installed; pip install -e '.[tensorboard]'"
            )
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._written = 0
        self._started = 0.0

    def __call__(self, training: Training) -> None:
        """Write the evaluations that are new."""
        rows = training.logbook.rows
        if self._written == len(rows):
            return
        if self._writer is None:
            self._writer = self._open(rows)
        for row in rows[self._written :]:
            for name, value in row.items():
                if not isinstance(value, str) and name not in NOT_DRAWN:
                    self._writer.add_scalar(name, value, row["env_steps"], self._started + row["wall_seconds"])
        self._written = len(rows)
        self._writer.flush()

    def _open(self, rows: list[Row]) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        self._started = time.time() - rows[-1]["wall_seconds"]
        return SummaryWriter(str(self.folder), purge_step=0)
