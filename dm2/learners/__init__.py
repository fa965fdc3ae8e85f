"""The algorithms: IPPO, R-MAPPO, QMIX, and DM² with its discriminators."""
