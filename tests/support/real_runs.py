"""Short trainings of the real learners in real battles."""

from dm2.backends.make_env import env_spec, make_env
from dm2.core.interface import BatchedEnv
from dm2.learners.ippo import IPPO
from dm2.play.demonstrations import Demonstrations, sample_demonstrations
from dm2.settings.files import merge
from dm2.settings.run import RunSettings

IPPO_LEARNER = {"algorithm": "ippo", "ippo": {"episodes_per_update": 8, "ppo_epochs": 2}}
MATCHING = {
    "discriminator": {"batch_episodes": 4, "steps_per_update": 3},
    "demonstrations": {"expert": "ippo", "episodes": 10},
}
LEARNERS = {
    "ippo": IPPO_LEARNER,
    "dm2_ippo_demo": {**IPPO_LEARNER, **MATCHING, "reward": "mixed"},
    "gail_only_state_action": {
        **IPPO_LEARNER,
        **merge(MATCHING, {"discriminator": {"input": "state_action"}}),
        "reward": "gail",
    },
    "open_loop": merge(IPPO_LEARNER, {"ippo": {"input": "time"}}),
    "ippo_bc_pretrain": {**IPPO_LEARNER, "cloning": {"max_epochs": 2}, "demonstrations": MATCHING["demonstrations"]},
    "dm2_sil": {**IPPO_LEARNER, "reward": "mixed", "discriminator": MATCHING["discriminator"], "self_imitation": {}},
    "rmappo": {"algorithm": "rmappo", "rmappo": {"n_battles": 8, "steps_per_update": 300, "ppo_epochs": 2}},
    "qmix": {"algorithm": "qmix", "qmix": {"n_battles": 8, "batch_episodes": 8, "replay_episodes": 40}},
}


def real_run(condition: str) -> tuple[RunSettings, Demonstrations | None]:
    """A short training of a real learner in real battles."""
    shared = {"scale": "test", "map_name": "3m", "condition": condition, "seed": 3}
    lengths = {
        "env_steps": 2000,
        "evaluation_interval": 500,
        "evaluation_episodes": 4,
        "policy_percents": (20, 50, 100),
    }
    settings = RunSettings(**shared, **lengths, **LEARNERS[condition])
    return settings, None if settings.demonstrations is None else demonstrations(settings)


def demonstrations(settings: RunSettings) -> Demonstrations:
    """What untrained agents do."""

    def make(n_battles: int, seed: int) -> BatchedEnv:
        return make_env(settings.backend, settings.map_name, n_battles, seed)

    assert settings.ippo is not None and settings.demonstrations is not None
    spec = env_spec(settings.backend, settings.map_name)
    team = IPPO(spec, settings.ippo, settings.quirks, seed=5).policy()
    return sample_demonstrations([team], spec, make, seeds=[1], episodes=settings.demonstrations.episodes)
