"""What all settings are made of: models that refuse an unknown key by its name, and YAML read without surprises.

This package imports neither torch nor numba, so that `dm2 --help` and the planning of a workflow stay quick.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dm2.core.errors import UserError
from dm2.core.files import atomic_write


def _no_truth_value(value: Any) -> Any:
    """Refuse `yes`, which is True in a YAML file and would count as 1."""
    if isinstance(value, bool):
        raise ValueError(f"found {value}, expected a number")
    return value


_Number = BeforeValidator(_no_truth_value)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Seed = Annotated[int, Field(ge=0, lt=2**63), _Number]
Percent = Annotated[int, Field(ge=1, le=100), _Number]
Probability = Annotated[float, Field(ge=0.0, le=1.0), _Number]
Positive = Annotated[float, Field(gt=0.0), _Number]
NotNegative = Annotated[float, Field(ge=0.0), _Number]
Count = Annotated[int, Field(ge=1), _Number]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
"""How errors show what they found: a few bytes of YAML can stand for gigabytes."""


class SettingsError(UserError, ValueError):
    """A setting that does not exist or cannot be; the message names the key and the nearest valid one."""


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """The part of an error message that helps: the nearest valid name, or all of them if none is near."""
    names = sorted(valid)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"


class Settings(BaseModel):
    """Base of all settings: frozen, closed (no unknown keys), readable from and writable to YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}; {did_you_mean(str(key), cls.model_fields)}")
        return data

    @classmethod
    def blocks(cls) -> dict[str, type[Settings]]:
        """The keys that hold settings of their own, and which."""
        annotations = {key: field.annotation for key, field in cls.model_fields.items()}
        candidates = {key: (one, *getattr(one, "__args__", ())) for key, one in annotations.items()}
        return {
            key: one
            for key, several in candidates.items()
            for one in several
            if isinstance(one, type) and issubclass(one, Settings)
        }

    @classmethod
    def from_mapping(cls, data: Any, source: str) -> Self:
        """Check `data` and build the settings.

        Args:
            data: what a YAML file held.
            source: where it came from, for the error message.

        Raises:
            SettingsError: an unknown key, a wrong type or an impossible value.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SettingsError("\n".join(_explain(source, item) for item in error.errors())) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read settings from a YAML file; errors name the file, the key and what was expected."""
        return cls.from_mapping(read_yaml(path), str(path))

    def yaml_text(self) -> str:
        """Every setting, defaults included and absent blocks left out, so that two runs compare with `diff`."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    def to_yaml(self, path: str | Path) -> None:
        """Write `yaml_text` to a file, whole or not at all."""
        with atomic_write(path, "w") as file:
            file.write(self.yaml_text())


def _explain(source: str, error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":  # of `Name`, the only pattern
        message = "expected a name of letters, digits and _"
    if error["type"] not in ("value_error", "missing"):
        message = f"{message}, found {_SHORT.repr(error['input'])}"
    return f"{source}: {key}: {message}" if key else f"{source}: {message}"


class _AmbiguousYAML(yaml.YAMLError):
    """What YAML permits and its readers understand differently."""


class _Loader(yaml.SafeLoader):
    """Runs no code; refuses a key that stands twice, and numbers that look decimal and are not."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in lines:
                raise _AmbiguousYAML(
                    f"line {line}: found {key!r} again, first in line {lines[key]}; remove one of them"
                )
            lines[key] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_number(self, node: Any) -> int | float:
        text = node.value.lstrip("+-").replace("_", "")
        if ":" in text or (text[:1] == "0" and text[1:2].isdigit() and "." not in text):
            raise _AmbiguousYAML(
                f"line {node.start_mark.line + 1}: found {node.value}, which some read as octal or as base 60; expected"
                " a decimal number without leading zeros, or quotes around a name"
            )
        is_int = node.tag == "tag:yaml.org,2002:int"
        number: int | float = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file, read without running code; a file that is no YAML is refused by name.

    Refused too are a key that stands twice in a mapping, of which YAML takes the last, and 010 and 1:30, which it takes
    for 8 and 90.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # as of `!!bool maybe`
        raise SettingsError(f"{path}: not readable as YAML: {error}") from None
