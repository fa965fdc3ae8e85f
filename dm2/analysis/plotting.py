"""Figures look the same whatever the user's own matplotlib settings are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def figure_settings(style: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """Around drawing and saving: matplotlib's defaults and `style`; a `$` in a text is a `$` and begins no mathematics.

    A matplotlibrc, or what a program has set before, counts again afterwards. Where ffmpeg is stays the user's.
    """
    import matplotlib as mpl

    with mpl.rc_context():
        ffmpeg = mpl.rcParams["animation.ffmpeg_path"]
        mpl.rcdefaults()
        own: dict[Any, Any] = {"animation.ffmpeg_path": ffmpeg, "text.parse_math": False}
        mpl.rcParams.update(own | dict(style or {}))
        yield
