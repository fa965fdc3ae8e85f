"""A folder for sys.path: what oxwhirl/smac's packages offer, from dm2.adapters (see dm2/adapters/run_script.py)."""
