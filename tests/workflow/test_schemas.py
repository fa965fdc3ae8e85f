import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.snakemake_run import REPOSITORY

from dm2.scripts.make_schemas import schemas

SCHEMAS = REPOSITORY / "workflow" / "schemas"


def test_committed_schemas_are_those_of_the_settings_classes() -> None:
    committed = {path.name: json.loads(path.read_text()) for path in SCHEMAS.iterdir()}
    assert committed == schemas(), "run `make schemas`"


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [("scale", "scales/*.yaml"), ("experiments", "experiments.yaml"), ("algorithms", "algorithms.yaml")],
)
def test_the_configuration_fits_its_schema(schema: str, pattern: str) -> None:
    checker = jsonschema.Draft202012Validator(schemas()[f"{schema}.schema.json"])
    files = sorted(Path(REPOSITORY / "config").glob(pattern))
    assert files
    for path in files:
        checker.validate(yaml.safe_load(path.read_text()))


def test_an_unknown_key_does_not_fit() -> None:
    checker = jsonschema.Draft202012Validator(schemas()["scale.schema.json"])
    with pytest.raises(jsonschema.ValidationError, match="sedes"):
        checker.validate({"scale": "quick", "seeds": [1], "runs": {}, "sedes": []})
