"""The battle simulator behind interfaces that other code is written for.

- `dm2.adapters.smac`: StarCraft2Env with the methods of oxwhirl/smac's, one battle; needs nothing else.
- `dm2.adapters.pettingzoo`: PettingZoo's parallel API, one battle.
- `dm2.adapters.gymnasium`: Gymnasium's vector API, many battles, the team as one agent.

The last two need the optional packages: `pip install "dm2[adapters]"`.
"""
