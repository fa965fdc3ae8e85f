"""Tables as Markdown, for readers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def markdown_table(table: pd.DataFrame, formats: Mapping[str, str] | None = None) -> str:
    """The table under its columns' names in words; what is not known stays empty.

    Args:
        table: what to show.
        formats: how to write the floats of a column, e.g. "+.1%"; with two decimals unless given.
    """
    floats = tuple((formats or {}).get(str(column), ".2f") for column in table)
    shown = table.astype(object).where(table.notna(), None).rename(columns=lambda name: name.replace("_", " "))
    return shown.to_markdown(index=False, floatfmt=floats, intfmt=",", missingval="") + "\n"
