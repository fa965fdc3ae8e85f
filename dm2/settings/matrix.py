"""The experiment matrix: which runs a scale consists of, with which settings, and what each run needs first.

A run's settings are merged from layers, the later ones winning: the defaults of `dm2.settings.run`, then
`config/algorithms.yaml` (defaults, map), the scale's file (defaults, map, map and condition) and the condition in
`config/experiments.yaml` (settings, map). Everything is checked when the matrix is loaded, so that a misspelled map,
condition, scale or key stops before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from dm2.settings.base import SettingsError, read_yaml
from dm2.settings.demonstrations import DemonstrationSettings
from dm2.settings.files import (
    AlgorithmsFile,
    Condition,
    ExperimentsFile,
    FigureSettings,
    Layer,
    Scale,
    _check_map_layers,
    _check_run_layer,
    check_case,
    check_name,
    map_names,
    merge,
    n_agents,
    scale_names,
)
from dm2.settings.maps import MAPS_FILE
from dm2.settings.run import ALGORITHMS, BACKENDS, SCRIPTED_POLICIES, RunSettings

BLOCKS = tuple(name for name in RunSettings.blocks() if RunSettings.model_fields[name].default is None)
"""Blocks that only some runs have."""
EXPERTS = frozenset({"demonstrations", "self_imitation"})
"""Blocks that say whom the discriminators take for the experts."""
GREEDY_EVALUATIONS = 10
"""Evaluations' worth of episodes by which the experts' greedy play is measured, as many as the absolute metric's."""


@dataclass(frozen=True, order=True)
class Run:
    """One training run."""

    map_name: str
    condition: str
    seed: int

    def directory(self, scale: str) -> str:
        """Where the run's files are, relative to the working directory."""
        return f"results/{scale}/runs/{self.map_name}/{self.condition}/seed-{self.seed}"


@dataclass(frozen=True)
class Matrix:
    """The runs of one scale. Build it with `Matrix.load`, which checks it."""

    scale: Scale
    conditions: Mapping[str, Condition]
    figures: Mapping[str, FigureSettings]
    algorithms: AlgorithmsFile

    @classmethod
    def load(cls, config_folder: str | Path, overrides: Mapping[str, Any] | None = None) -> Matrix:
        """Read and check the configuration.

        Args:
            config_folder: holds config.yaml, algorithms.yaml, experiments.yaml and scales/.
            overrides: keys of `Scale` that replace those of the scale's file; `defaults`, `maps` and `by_run` are
                merged into it, `runs` replaces its `single_seed_runs` too.

        Raises:
            SettingsError: a map, condition, scale or key that does not exist, or settings that do not fit together.
        """
        folder = Path(config_folder)
        scale, narrows = _load_scale(folder, overrides or {})
        experiments = ExperimentsFile.from_yaml(folder / "experiments.yaml")
        matrix = cls(
            scale=scale,
            conditions=_expand(experiments.conditions),
            figures=experiments.figures,
            algorithms=AlgorithmsFile.from_yaml(folder / "algorithms.yaml"),
        )
        matrix._check()
        return matrix._of_figures(narrows) if scale.figures else matrix

    def settings(self, run: Run) -> RunSettings:
        """All settings of one run.

        Raises:
            SettingsError: the run's map or condition does not exist, or its settings do not fit together.
        """
        condition = self.condition(run.condition)
        merged: Layer = {}
        for layers in (self.algorithms, self.scale):
            merged = merge(merged, layers.defaults, layers.maps.get(run.map_name, {}))
        merged = merge(merged, self.scale.by_run.get(run.map_name, {}).get(run.condition, {}))
        own = merge(condition.settings, condition.maps.get(run.map_name, {}))
        merged = merge(merged, own)
        identity: Layer = {"scale": self.scale.scale, "backend": self.scale.backend, "map_name": run.map_name}
        merged = identity | {"condition": run.condition, "seed": run.seed} | _needed_blocks(merged, own)
        return self._with_expert_seeds(RunSettings.from_mapping(merged, self._where(run)))

    def condition(self, name: str) -> Condition:
        """The condition of that name.

        Raises:
            SettingsError: there is none.
        """
        check_name("condition", name, self.conditions, "config/experiments.yaml")
        return self.conditions[name]

    def demonstration_settings(self, run: Run) -> DemonstrationSettings | None:
        """What the demonstrations of a run are sampled from; None where it learns without any."""
        settings = self.settings(run)
        if settings.demonstrations is None:
            return None
        return DemonstrationSettings(
            scale=self.scale.scale,
            map_name=run.map_name,
            backend=self.scale.backend,
            source=settings.demonstrations,
            greedy_episodes=GREEDY_EVALUATIONS * settings.evaluation_episodes,
        )

    @property
    def learners(self) -> tuple[Run, ...]:
        """The runs the scale asks for: every map, its conditions, every seed or the first."""
        asked = ((self.scale.runs, self.scale.seeds), (self.scale.single_seed_runs, self.scale.seeds[:1]))
        return tuple(
            Run(name, one, seed)
            for runs, seeds in asked
            for name, conditions in runs.items()
            for one in conditions
            for seed in seeds
        )

    @property
    def demonstrations(self) -> dict[tuple[str, str], DemonstrationSettings]:
        """All archives, by map and name."""
        wanted = [self.demonstration_settings(run) for run in self.learners]
        return {(one.map_name, one.name): one for one in wanted if one is not None}

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, experts included; an expert that is also a learner is one run."""
        experts = [run for one in self.demonstrations.values() for run in self.experts(one)]
        return tuple(dict.fromkeys([*self.learners, *experts]))

    def experts(self, archive: DemonstrationSettings) -> tuple[Run, ...]:
        """The runs that an archive is sampled from, in the order of the agents if they are independent.

        Where the expert is chosen, the runs to choose from; none if the expert is scripted.
        """
        source = archive.source
        if source.is_scripted:
            return ()
        seeds = self._expert_seeds if source.is_chosen else source.expert_seeds
        return tuple(Run(archive.map_name, source.expert, seed) for seed in seeds)

    @property
    def choices(self) -> dict[tuple[str, str], tuple[Run, ...]]:
        """The runs of which one is chosen as the expert, by map and condition."""
        chosen = [one for one in self.demonstrations.values() if one.source.is_chosen]
        return {(one.map_name, one.source.expert): self.experts(one) for one in chosen}

    @property
    def conditions_with_demonstrations(self) -> tuple[str, ...]:
        """Conditions of this scale's runs that learn from demonstrations."""
        return tuple(dict.fromkeys(run.condition for run in self.runs if self.settings(run).demonstrations))

    @property
    def conditions_without_demonstrations(self) -> tuple[str, ...]:
        """Conditions of this scale's runs that need no demonstrations, experts included."""
        return tuple(dict.fromkeys(run.condition for run in self.runs if not self.settings(run).demonstrations))

    @property
    def policy_percents(self) -> tuple[int, ...]:
        """Points of training whose policies every run keeps."""
        return self.settings(self.learners[0]).policy_percents

    def figure_maps(self, figure: str) -> tuple[str, ...]:
        """The maps on which the scale runs what the figure is about."""
        check_name("figure", figure, self.figures, "config/experiments.yaml")
        settings, run_on = self.figures[figure], self.scale.conditions
        return tuple(
            one
            for one in self.scale.map_names
            if set(settings.drawn_on(one)) & set(settings.needs or run_on(one)) & set(run_on(one))
            and (settings.baseline is None or settings.baseline in run_on(one))
        )

    def figure_conditions(self, figure: str, map_name: str) -> tuple[str, ...]:
        """What the figure's panel of a map shows: the conditions that the scale runs, in the order of the legend."""
        return tuple(one for one in self.figures[figure].drawn_on(map_name) if one in self.scale.conditions(map_name))

    @property
    def in_no_figure(self) -> dict[str, tuple[str, ...]]:
        """The maps on which the scale runs a condition that no figure shows there, by condition."""
        shown = self._shown_by(self.figures)
        hidden: dict[str, tuple[str, ...]] = {}
        for map_name in self.scale.map_names:
            for one in self.scale.conditions(map_name):
                if one not in shown[map_name]:
                    hidden[one] = (*hidden.get(one, ()), map_name)
        return hidden

    def _shown_by(self, figures: Iterable[str]) -> dict[str, set[str]]:
        """What figures show on each map of the scale, what they compare it with included."""
        shown: dict[str, set[str]] = {map_name: set() for map_name in self.scale.map_names}
        for name in figures:
            for map_name in self.figure_maps(name):
                baseline = [self.figures[name].baseline or ""]
                shown[map_name].update(self.figure_conditions(name, map_name), baseline)
        return shown

    def _of_figures(self, narrows: bool) -> Matrix:
        """What the scale's `figures` show and nothing else.

        Args:
            narrows: whether that may be less than the scale runs.

        Raises:
            SettingsError: there is no such figure, the scale runs nothing that one shows, or more than all show.
        """
        where = f"config/scales/{self.scale.scale}.yaml: figures"
        for name in self.scale.figures:
            check_name("figure", name, self.figures, where)
            if not self.figure_maps(name):
                raise SettingsError(f"{where}: found {name!r}, of which the scale runs nothing; add it to `runs`")
        shown = self._shown_by(self.scale.figures)
        for map_name in self.scale.map_names:
            lost = [one for one in self.scale.conditions(map_name) if one not in shown[map_name]]
            if lost and not narrows:
                raise SettingsError(
                    f"{where}: found none that shows {lost[0]!r} on {map_name!r}, which the scale runs; add one, or"
                    " take it out of `runs`"
                )
        kept = {
            key: {name: tuple(one for one in runs[name] if one in shown[name]) for name in runs if shown[name]}
            for key, runs in (("runs", self.scale.runs), ("single_seed_runs", self.scale.single_seed_runs))
        }
        figures = {name: self.figures[name] for name in self.scale.figures}
        return replace(self, scale=self.scale.model_copy(update=kept), figures=figures)

    @property
    def _expert_seeds(self) -> tuple[int, ...]:
        return self.scale.expert_seeds or self.scale.seeds

    def _with_expert_seeds(self, settings: RunSettings) -> RunSettings:
        """Fill in the seeds of experts that no rule chooses."""
        source = settings.demonstrations
        if source is None or source.expert_seeds or source.is_chosen:
            return settings
        seeds = self._expert_seeds[: 1 if source.joint else n_agents(settings.map_name)]
        return settings.model_copy(update={"demonstrations": source.model_copy(update={"expert_seeds": seeds})})

    def _where(self, run: Run) -> str:
        return f"condition {run.condition!r} on {run.map_name!r} at scale {self.scale.scale!r}"

    def _check(self) -> None:
        scale_file = f"config/scales/{self.scale.scale}.yaml"
        check_name("backend", self.scale.backend, BACKENDS, scale_file)
        for name in set(SCRIPTED_POLICIES) & set(self.conditions):
            raise SettingsError(
                f"config/experiments.yaml: conditions: {name!r} is a policy that nobody trains; rename it"
            )
        check_case("config/experiments.yaml: conditions", [*SCRIPTED_POLICIES, *self.conditions])
        check_case("config/experiments.yaml: figures", self.figures)
        check_case(str(MAPS_FILE), map_names())
        for key in ("runs", "single_seed_runs"):
            for map_name, conditions in getattr(self.scale, key).items():
                check_name("map", map_name, map_names(), f"{scale_file}: {key}")
                for condition in conditions:
                    check_name("condition", condition, self.conditions, f"{scale_file}: {key}.{map_name}")
        self._check_figures()
        self._check_layers(scale_file)
        for run in self.learners:
            self._check_demonstrations(run)
        for run in self.runs:
            self._check_policy_percents(run)

    def _check_figures(self) -> None:
        for name, figure in self.figures.items():
            where = f"config/experiments.yaml: figures.{name}"
            for map_name in figure.maps:
                check_name("map", map_name, map_names(), f"{where}.maps")
            baseline = [figure.baseline] if figure.baseline else []
            for condition in chain(figure.conditions, figure.needs, baseline, *figure.maps.values()):
                check_name("condition", condition, self.conditions, where)

    def _check_layers(self, scale_file: str) -> None:
        for source, layers in ((scale_file, self.scale), ("config/algorithms.yaml", self.algorithms)):
            _check_run_layer(f"{source}: defaults", layers.defaults)
            _check_map_layers(source, layers.maps)
        for map_name, conditions in self.scale.by_run.items():
            check_name("map", map_name, map_names(), f"{scale_file}: by_run")
            for name, layer in conditions.items():
                check_name("condition", name, self.conditions, f"{scale_file}: by_run.{map_name}")
                _check_run_layer(f"{scale_file}: by_run.{map_name}.{name}", layer)
        for name, condition in self.conditions.items():
            source = f"config/experiments.yaml: conditions.{name}"
            _check_run_layer(f"{source}.settings", condition.settings)
            _check_map_layers(source, condition.maps)

    def _check_demonstrations(self, run: Run) -> None:
        wanted = self.demonstration_settings(run)
        if wanted is None:
            return
        source, where = wanted.source, self._where(run)
        known = [*self.conditions, *SCRIPTED_POLICIES]
        check_name("condition", source.expert, known, f"{where}: demonstrations.expert")
        if not source.joint and len(set(source.expert_seeds)) != n_agents(run.map_name):
            raise SettingsError(
                f"{where}: demonstrations.expert_seeds: independent experts need {n_agents(run.map_name)} different "
                f"seeds, one per agent, found {list(source.expert_seeds)}; give more in `expert_seeds` of the scale"
            )
        if source.is_scripted:
            return
        expert = self.settings(self.experts(wanted)[0])
        if source.epsilon and not ALGORITHMS[expert.algorithm].acts_by_epsilon:
            raise SettingsError(
                f"{where}: demonstrations.epsilon: found {source.epsilon} for the expert {source.expert!r}, which "
                "samples from its policy; leave it out"
            )
        if expert.demonstrations is not None:
            raise SettingsError(f"{where}: demonstrations.expert: {source.expert!r} learns from demonstrations itself")
        if source.checkpoint_percent not in expert.policy_percents:
            raise SettingsError(
                f"{where}: demonstrations.checkpoint_percent: {source.expert!r} keeps no policy at "
                f"{source.checkpoint_percent} %; its policy_percents are {list(expert.policy_percents)}"
            )

    def _check_policy_percents(self, run: Run) -> None:
        found = self.settings(run).policy_percents
        if found != self.policy_percents:
            raise SettingsError(
                f"{self._where(run)}: policy_percents: found {list(found)}, expected {list(self.policy_percents)} as "
                "in the scale's other runs; give it for all of them, under `defaults`"
            )


def alternatives(values: Iterable[object]) -> str:
    """A regular expression that matches any of the values and nothing else."""
    return "|".join(sorted({re.escape(str(value)) for value in values})) or "(?!)"


def _load_scale(folder: Path, overrides: Mapping[str, Any]) -> tuple[Scale, bool]:
    """The scale, and whether the configuration names other figures than the scale's file."""
    chosen = {**read_yaml(folder / "config.yaml"), **overrides}
    check_name("scale", str(chosen.get("scale")), scale_names(folder), "configuration")
    check_case(str(folder / "scales"), scale_names(folder))
    path = folder / "scales" / f"{chosen['scale']}.yaml"
    data: Layer = read_yaml(path)
    if "runs" in chosen:  # who says what to run means nothing else
        data.pop("single_seed_runs", None)
    given = {key: chosen[key] for key in ("defaults", "maps", "by_run") if isinstance(chosen.get(key), Mapping)}
    layers = {key: merge(data.get(key, {}), layer) for key, layer in given.items()}
    changed = ", ".join(key for key, value in chosen.items() if key not in data or data[key] != value)
    where = f"{path}, with {changed} set by the configuration" if changed else str(path)
    scale = Scale.from_mapping({**data, **chosen, **layers}, where)
    if data.get("scale") != scale.scale:
        raise SettingsError(f"{path}: scale: found {data.get('scale')!r}, expected the file's own name {scale.scale!r}")
    return scale, list(scale.figures) != data.get("figures")


def _expand(conditions: Mapping[str, Condition]) -> dict[str, Condition]:
    """Every condition by name, those that stand for several in their order."""
    return {name: one for key, condition in conditions.items() for name, one in condition.expanded(key).items()}


def _needed_blocks(merged: Layer, condition: Layer) -> Layer:
    """Leave out what the run's algorithm and reward do not read; fill the blocks that they do.

    Who the experts are, and whether to clone them, is the condition's to say: such a block elsewhere only holds
    settings for those that ask.
    """
    needed = {merged.get("algorithm")}
    if merged.get("reward", "env") != "env":
        needed |= {"discriminator"} | (EXPERTS & condition.keys() or {"demonstrations"})
    if "cloning" in condition:
        needed |= {"cloning", "demonstrations"}
    kept = {key: value for key, value in merged.items() if key not in BLOCKS or key in needed}
    return kept | {key: merged.get(key, {}) for key in BLOCKS if key in needed}
