"""What the files of `config/` hold: conditions, figures, algorithms and scales, each checked where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from dm2.settings.base import Name, Percent, Seed, Settings, SettingsError, did_you_mean
from dm2.settings.maps import MAPS_FILE, map_data
from dm2.settings.run import RunSettings

Layer = dict[str, Any]
IDENTITY = ("scale", "backend", "map_name", "condition", "seed")
"""Settings that say which run it is; they follow from the matrix."""


class Condition(Settings):
    """An experimental condition: settings on top of those of its map and scale."""

    label: str
    """Name in legends."""
    settings: Layer
    """Part of RunSettings that makes the condition."""
    maps: dict[str, Layer] = Field(default_factory=dict)
    """Further settings on one map."""
    checkpoint_percents: tuple[Percent, ...] = ()
    """One condition per entry, `{percent}` in name and label replaced."""
    variants: dict[Name, Layer] = Field(default_factory=dict)
    """One condition per entry, with its settings on top, `{variant}` in name and label replaced by its name."""
    paper_condition: str | None = None
    """Counterpart in results/paper/paper_curves.csv."""

    @model_validator(mode="after")
    def _expands_once(self) -> Self:
        if self.checkpoint_percents and self.variants:
            raise ValueError("checkpoint_percents, variants: found both, expected one of them")
        return self

    def expanded(self, name: str) -> dict[str, Condition]:
        """The conditions that it stands for, by name: itself, or one per percentage or variant."""
        if self.checkpoint_percents:
            layers = {one: {"demonstrations": {"checkpoint_percent": one}} for one in self.checkpoint_percents}
            return dict(self._filled(name, layer, percent=p, millions=p // 10) for p, layer in layers.items())
        if self.variants:
            return dict(self._filled(name, layer, variant=variant) for variant, layer in self.variants.items())
        return {name: self}

    def _filled(self, name: str, layer: Layer, **fields: object) -> tuple[str, Condition]:
        """Name and condition with the fields in their places and one more layer of settings."""
        changes = {
            "label": self.label.format(**fields).replace("_", " "),
            "paper_condition": self.paper_condition and self.paper_condition.format(**fields),
            "settings": merge(self.settings, layer),
            "checkpoint_percents": (),
            "variants": {},
        }
        return name.format(**fields), self.model_copy(update=changes)


class FigureSettings(Settings):
    """A figure: which conditions it compares. It has one panel per map of the scale that has something to show."""

    title: str
    """What the figure shows."""
    conditions: tuple[Name, ...] = ()
    """Conditions drawn, in the order of the legend; none: the figure has panels of the maps in `maps` alone."""
    maps: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Conditions drawn on one map instead."""
    needs: tuple[Name, ...] = ()
    """A map has a panel only if the scale runs one of these on it; none: one of those drawn is enough."""
    shows: Literal["win_rate", "interquartile_mean", "matching", "area", "improvement"] = "win_rate"
    """Curves of mean and sd beside the paper's; or, with 95 % intervals over seeds, curves of the interquartile mean,
    how well discriminators tell a team from its experts, areas under the curve, or how probably a run beats one of the
    baseline."""
    baseline: Name | None = None
    """Condition that the others are compared with, for improvement; no map without it has a panel."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if not self.conditions and not self.maps:
            raise ValueError("found neither conditions nor maps, expected what the figure shows")
        if (self.shows == "improvement") != (self.baseline is not None):
            raise ValueError(f"found baseline {self.baseline!r} in a figure of {self.shows}; improvement alone has one")
        return self

    def drawn_on(self, map_name: str) -> tuple[str, ...]:
        """The conditions of the panel of that map, whether or not a scale runs them."""
        return tuple(one for one in self.maps.get(map_name, self.conditions) if one != self.baseline)


class ExperimentsFile(Settings):
    """`config/experiments.yaml`."""

    conditions: dict[str, Condition]
    """Conditions by name."""
    figures: dict[Name, FigureSettings]
    """Figures by name."""


class AlgorithmsFile(Settings):
    """`config/algorithms.yaml`: parts of RunSettings."""

    defaults: Layer = Field(default_factory=dict)
    """Settings on every map."""
    maps: dict[str, Layer] = Field(default_factory=dict)
    """Settings by map."""


class Scale(Settings):
    """`config/scales/<scale>.yaml`, and what a workflow's configuration may hold."""

    scale: Name
    """Name of the scale and of its folder under results/ and figures/."""
    backend: Name = "simulator"
    """Engine that plays the battles."""
    seeds: tuple[Seed, ...]
    """Seeds of every condition."""
    expert_seeds: tuple[Seed, ...] = ()
    """Seeds of experts: the candidates among which the run that wins most in the end is chosen, of which independent
    experts are the first, one per agent; unless demonstrations.expert_seeds names them. None given: `seeds`."""
    runs: dict[str, tuple[Name, ...]]
    """Conditions run on each map."""
    single_seed_runs: dict[str, tuple[Name, ...]] = Field(default_factory=dict)
    """Conditions run on each map with the first seed alone."""
    figures: tuple[Name, ...] = ()
    """Figures to draw; none given: all. A scale's file names what shows all its runs; a configuration that names others
    runs what they show and nothing else."""
    defaults: Layer = Field(default_factory=dict)
    """Part of RunSettings that holds on every map at this scale."""
    maps: dict[str, Layer] = Field(default_factory=dict)
    """Part of RunSettings by map at this scale."""
    by_run: dict[str, dict[Name, Layer]] = Field(default_factory=dict)
    """Part of RunSettings by map and condition at this scale."""

    def conditions(self, map_name: str) -> tuple[str, ...]:
        """The conditions run on a map, with all seeds or one."""
        return (*self.runs.get(map_name, ()), *self.single_seed_runs.get(map_name, ()))

    @property
    def map_names(self) -> tuple[str, ...]:
        """The maps that anything is run on."""
        return tuple(dict.fromkeys([*self.runs, *self.single_seed_runs]))

    @model_validator(mode="after")
    def _lists_are_filled_and_name_each_once(self) -> Self:
        lists: dict[str, tuple[int | str, ...]] = {"seeds": self.seeds, "runs": self.map_names}
        lists |= {"expert_seeds": self.expert_seeds} if self.expert_seeds else {}
        lists |= {f"runs.{map_name}": self.conditions(map_name) for map_name in self.map_names}
        for key, values in lists.items():
            if not values:
                raise ValueError(f"{key}: found none, expected at least one")
            if twice := [value for i, value in enumerate(values) if value in values[:i]]:
                raise ValueError(f"{key}: found {twice[0]!r} twice, expected each once")
        return self


def merge(*layers: Mapping[str, Any]) -> Layer:
    """Merge nested mappings; the later one wins, key by key."""
    merged: Layer = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = merge(merged[key], value) if both else value
    return merged


def check_name(kind: str, name: str, valid: Iterable[str], source: str) -> None:
    """Refuse a name that does not exist.

    Raises:
        SettingsError: names it, where it stands and the nearest valid one.
    """
    names = list(valid)
    if name not in names:
        raise SettingsError(f"{source}: unknown {kind} {name!r}; {did_you_mean(str(name), names)}")


def check_case(source: str, names: Iterable[str]) -> None:
    """Refuse names that differ in case alone.

    Raises:
        SettingsError: two do; some file systems, and marl-eval, take them for one.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise SettingsError(
                f"{source}: found {other!r} and {name!r}, which differ in case alone; rename one of them"
            )


def map_names() -> tuple[str, ...]:
    """The maps there are."""
    return tuple(map_data().maps)


def n_agents(map_name: str) -> int:
    """Number of allied units on a map.

    Raises:
        SettingsError: there is no such map.
    """
    check_name("map", map_name, map_names(), str(MAPS_FILE))
    return sum(map_data().maps[map_name].allies.values())


def scale_names(config_folder: str | Path) -> tuple[str, ...]:
    """The scales there are: one file each."""
    return tuple(sorted(path.stem for path in Path(config_folder, "scales").glob("*.yaml")))


def _check_map_layers(source: str, layers: Mapping[str, Layer]) -> None:
    for map_name, layer in layers.items():
        check_name("map", map_name, map_names(), f"{source}: maps")
        _check_run_layer(f"{source}: maps.{map_name}", layer)


def _check_run_layer(source: str, layer: Layer) -> None:
    """Refuse keys that RunSettings does not have, and those that say which run it is."""
    for key in IDENTITY:
        if key in layer:
            raise SettingsError(
                f"{source}: {key}: follows from the scale's `runs`, `seeds` and `backend`; remove it here"
            )
    _check_layer(source, layer)


def _check_layer(source: str, layer: Mapping[str, Any], model: type[Settings] = RunSettings) -> None:
    """Refuse a key that `model` does not have, in nested blocks too, even where no run reads the block."""
    for key, value in layer.items():
        valid = set(model.model_fields) | ({"preset"} if "first_action_leak" in model.model_fields else set())
        check_name("key", key, valid, source)
        block = model.blocks().get(key)
        if block is not None and isinstance(value, Mapping):
            _check_layer(f"{source}.{key}", value, block)
