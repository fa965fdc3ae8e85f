"""What Python and PyYAML have dropped and PyMARL still uses: with this folder on PYTHONPATH it is there again."""

import collections
import collections.abc

import yaml

load = yaml.load


def load_without_loader(stream, Loader=yaml.FullLoader):
    return load(stream, Loader)


collections.Mapping = collections.abc.Mapping
yaml.load = load_without_loader
