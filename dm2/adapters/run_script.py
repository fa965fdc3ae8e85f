"""Run code that was written for SMAC as it is: `python -m dm2.adapters.smac their_script.py ...`.

The folder `drop_in` comes first among the places that Python imports from, in the processes that the script starts too:
there stand packages of SMAC's names that give dm2.adapters.smac's classes. An installed SMAC is left alone.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

DROP_IN = Path(__file__).parent / "drop_in"


def offer_smac() -> None:
    """Let `import smac` find the drop-in, here and in every Python that is started from here.

    Raises:
        RuntimeError: another smac was imported before.
    """
    found = sys.modules.get("smac")
    if found is not None and DROP_IN not in Path(str(found.__file__)).parents:
        raise RuntimeError(
            f"found smac imported from {found.__file__}, expected nothing yet: offer it before importing it"
        )
    sys.path[:] = [str(DROP_IN), *(place for place in sys.path if place != str(DROP_IN))]
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(DROP_IN) not in places:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DROP_IN), *places]))


def run_script(arguments: Sequence[str]) -> None:
    """Run a script, or with -m a module, as `python` would with these arguments.

    Raises:
        SystemExit: no script is named, or there is none of that name.
    """
    as_module = arguments[:1] == ["-m"]
    own = list(arguments[as_module:])
    if not own or (not as_module and not Path(own[0]).is_file()):
        sys.exit(
            f"found {own[0] if own else 'no script'}, expected a script that is there:"
            " python -m dm2.adapters.smac SCRIPT.py [ARGUMENT ...], or -m MODULE [ARGUMENT ...]"
        )
    sys.argv = own
    sys.path.insert(0, os.getcwd() if as_module else str(Path(own[0]).resolve().parent))
    offer_smac()
    if as_module:
        runpy.run_module(own[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(own[0], run_name="__main__")
