"""From plain values to YAML that :func:`~priprune_plugins.scenario.yaml_reader.read_yaml` reads back as the same."""

from typing import Any

import yaml

from priprune_plugins.scenario.scalars import plain_scalar


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML takes '1e-3' for text and leaves it bare; our reader takes it for a number.
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if _looks_otherwise(value) else None)


def _looks_otherwise(text: str) -> bool:
    try:
        return not isinstance(plain_scalar(text), str)
    except ValueError:
        return True


_Dumper.add_representer(str, _text)


def dump_yaml(document: Any) -> str:
    """Return plain values as YAML text, keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
