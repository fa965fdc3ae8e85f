"""A program that pysc2 starts in the place of StarCraft II: the battle simulator behind the game's own protocol.

- `install`: lays out a folder that pysc2 takes as SC2PATH.
- `match`: the battles that one game plays, as loops, orders and units.
- `protocol`: requests of the StarCraft II API answered from a match.
- `server`: the websocket, on the loopback interface alone; the program's start.
"""
