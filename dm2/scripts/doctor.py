"""Say in plain words what is installed and what is missing (`dm2 doctor`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.backends.installation import Finding


def main() -> None:
    """Check the simulator, and what StarCraft II needs; exit code 0 if the simulator works."""
    from dm2.backends.installation import inspect_installation, try_imports

    findings = inspect_installation()
    complete = all(finding.good for finding in findings)
    if complete:
        findings.append(try_imports())
        complete = findings[-1].good
    works = simulator()
    typer.echo(line(works))
    if works.good:
        typer.echo(line(machine_code()))
    typer.echo(line(multiplies()))
    typer.echo("\nStarCraft II (optional: only backend starcraft2 needs it)")
    for finding in findings:
        typer.echo(line(finding))
    if complete:
        typer.echo("everything that backend starcraft2 needs is there; the game itself was not started")
    else:
        typer.echo("backend starcraft2 cannot be used yet; everything else works without it")
    raise typer.Exit(0 if works.good else 1)


def simulator() -> Finding:
    """Whether the simulator plays, tried with one step on the smallest map."""
    from dm2.backends.installation import Finding

    try:
        import numpy as np

        from dm2.backends.make_env import make_env

        env = make_env("simulator", "3m", 1, 0)
        env.reset()
        env.step(np.ones((1, env.spec.n_agents), dtype=np.int64))
    except (ImportError, OSError) as error:
        return Finding("simulator", False, f"does not start: {error}; make setup installs what it needs")
    return Finding("simulator", True, f"{env.spec.backend.removeprefix('simulator ')}, plays")


def machine_code() -> Finding:
    """Where compiled kernels are kept; without such a place all works, but starts slowly."""
    from dm2.backends.installation import Finding
    from dm2.core import jit

    place = jit.writable_place()
    if place is not None:
        return Finding("machine code", True, f"kept in {place}")
    tried = " or ".join(map(str, jit.places()))
    return Finding("machine code", False, f"cannot be kept in {tried}, {jit.ADVICE}")


def multiplies() -> Finding:
    """Which library multiplies matrices."""
    from dm2.backends.installation import Finding
    from dm2.core.errors import UserError
    from dm2.nets.products import library

    try:
        chosen = library()
    except UserError as error:
        return Finding("matrix products", False, str(error))
    return Finding("matrix products", chosen.remark is None, chosen.remark or f"by {chosen}")


def line(finding: Finding) -> str:
    """A finding as one line of the report."""
    return f"{'ok' if finding.good else 'MISSING':8} {finding.part:17} {finding.text}"


if __name__ == "__main__":
    options.run(main)
