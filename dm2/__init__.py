"""DM²: decentralized multi-agent reinforcement learning via distribution matching.

Source: Wang, Durugkar, Liebman, Stone, "DM²: Decentralized Multi-Agent Reinforcement Learning via Distribution
Matching", AAAI 2023.
"""

__version__ = "0.2.0"
