"""One thin program per stage: parse, load, call, write.

`python -m dm2.scripts.STAGE` and `dm2 STAGE` are the same. A script imports what it needs inside `main`, so that
`dm2 --help` starts neither torch nor numba.
"""
