# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine config documents: reading them as the node does, with its errors."""

from __future__ import annotations

import typing as t

import yaml

from . import configtypes
from .machineconfig import MachineConfig

_LEGACY_KEYS = {"machine", "cluster", "debug", "persist"}
_VERSION = "v1alpha1"
_DECODED = {"kind": "kind", "apiVersion": "version"}
_EXCLUSIVE = (
    ("BondConfig", "BridgeConfig", "DummyLinkConfig", "LinkConfig", "VLANConfig", "VRFConfig", "WireguardConfig"),
    ("Layer2VIPConfig", "HCloudVIPConfig"),
    ("UserVolumeConfig", "ExistingVolumeConfig"),
)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(Exception):
    """The configuration cannot be decoded; the text is the node's."""


def load(text: bytes) -> MachineConfig:
    """Decode all documents. Raises :class:`ConfigError`."""
    documents: list[dict[str, t.Any]] = []
    known: set[tuple[str, str, str]] = set()
    for root in _roots(text):
        if root is None or root.tag == "tag:yaml.org,2002:null":
            continue
        line = root.start_mark.line + 1
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"expected a YAML document at line {line}")
        identity = (
            _value(root, "apiVersion"),
            _value(root, "kind") or _VERSION,
            _value(root, "name"),
        )
        name = "/".join(identity)
        if identity in known:
            raise ConfigError(f"duplicate document {name} is not allowed (line {line})")
        known.add(identity)
        try:
            documents.append(_decode(root))
        except ConfigError as error:
            raise ConfigError(f"error decoding document {name} (line {line}): {error}") from None
    if not documents:
        raise ConfigError("config not found")
    _check_conflicts(documents)
    return MachineConfig(text, tuple(documents))


def _check_conflicts(documents: list[dict[str, t.Any]]) -> None:
    """Kinds that may not have the same name: in the order in which the documents come."""
    first: dict[tuple[str, str], str] = {}
    for document in documents:
        kind, name = str(document.get("kind") or ""), str(document.get("name") or "")
        for kinds in _EXCLUSIVE:
            if kind in kinds:
                other = first.setdefault((kinds[0], name), kind)
                if other != kind:
                    raise ConfigError(f"conflicting documents: {other}/{name} and {kind}/{name}")


def _roots(text: bytes) -> t.Iterator[t.Any]:
    try:
        yield from yaml.compose_all(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"decode error: yaml: {_marked(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"decode error: yaml: {error}") from None


def _marked(error: yaml.MarkedYAMLError) -> str:
    """As the node's YAML package words it; it does not know positions on the first line."""
    problem, mark = error.problem or "", error.problem_mark
    if not error.context:
        line = f"line {mark.line + 1}: " if mark else ""
        return f"{line}{problem}"
    where = "<unknown position>"
    if error.context_mark is not None and error.context_mark.line > 0:
        where = f"line {error.context_mark.line + 1}"
    scanner = error.context == "while scanning for the next token"
    line = f"line {mark.line}: " if mark is not None and mark.line > 0 and not scanner else ""
    return f"{error.context} at {where}: {line}{problem}"


def _decode(root: yaml.MappingNode) -> dict[str, t.Any]:
    keys = {key.value for key, _ in root.value}
    for key, node in root.value:
        if key.value in ("kind", "apiVersion") and not isinstance(node, yaml.ScalarNode):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            problem = f"  line {node.start_mark.line + 1}: cannot construct {tag} into string"
            raise ConfigError(f"{_DECODED[key.value]} decode: yaml: construct errors:\n{problem}")
    kind, version = _value(root, "kind"), _value(root, "apiVersion")
    if keys & _LEGACY_KEYS:
        version = _VERSION
    if not kind and version != _VERSION:
        raise ConfigError("missing kind")
    if not version:
        raise ConfigError("missing apiVersion")
    type_ = configtypes.document(kind, version)
    if type_ is None:
        raise ConfigError(f'"{kind}" "{version}": not registered')
    try:
        return configtypes.construct(type_, root)
    except configtypes.ConstructError as error:
        raise ConfigError(f"error decoding {kind} to *{type_.go_name}: {error}") from None
    except configtypes.UnknownKeys as error:
        raise ConfigError(str(error)) from None


def _value(root: yaml.MappingNode, wanted: str) -> str:
    """The scalar of a key of the document, empty if it is not there."""
    for key, node in root.value:
        if key.value == wanted and isinstance(node, yaml.ScalarNode):
            return str(node.value)
    return ""
