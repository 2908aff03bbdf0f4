# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creation rules: for whom a new file is encrypted, by the ``.sops.yaml`` above it."""

from __future__ import annotations

import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from . import age, sops_regex, sops_values
from .sops_values import Rules

_OTHERS = ("kms", "gcp_kms", "hckms", "azure_keyvault", "hc_vault_transit_uri", "hc_vault", "pgp")
_COMMENTS = ("unencrypted_comment_regex", "encrypted_comment_regex")


class Rule(t.NamedTuple):
    """What a creation rule says, and of which file."""

    recipients: list[str]
    rules: Rules
    config: pathlib.Path


def find(path: pathlib.Path) -> pathlib.Path | None:
    """The nearest ``.sops.yaml`` in the file's directory or above it."""
    candidates = (folder / ".sops.yaml" for folder in path.parents)
    return next((config for config in candidates if config.is_file()), None)


def rule_for(path: pathlib.Path, config: pathlib.Path) -> Rule:
    """The first rule that fits. Raises InvalidInput when none does, or when it asks for other keys than age."""
    rules = _creation_rules(config)
    if rules is None:
        raise InvalidInput(f"{config} has no creation_rules", hint="Give recipients, or write a rule.")
    found = _fitting(rules, path, config)
    if found is None:
        shown = _shown(path, config)
        raise InvalidInput(f"No creation rule in {config} fits {shown}", hint="Give recipients, or write a rule.")
    number, one = found
    return Rule(_recipients(one, f"{config}, rule {number}"), _rules(one), config)


def rules_for(path: pathlib.Path, config: pathlib.Path) -> Rules:
    """What of a file is encrypted, by the first rule that fits, for whomever; the default where none does."""
    found = _fitting(_creation_rules(config) or [], path, config)
    return _rules(found[1]) if found else Rules()


def _shown(path: pathlib.Path, config: pathlib.Path) -> str:
    return str(path).removeprefix(f"{config.parent}/")


def _creation_rules(config: pathlib.Path) -> list[t.Any] | None:
    import yaml

    try:
        given = yaml.safe_load(private_files.read(config, "configuration of sops"))
    except yaml.YAMLError:
        raise InvalidInput(f"{config} is not valid YAML") from None
    rules = given.get("creation_rules") if isinstance(given, dict) else None
    return rules if isinstance(rules, list) else None


def _fitting(rules: list[t.Any], path: pathlib.Path, config: pathlib.Path) -> tuple[int, dict[str, t.Any]] | None:
    """The first rule that fits, and its number."""
    shown = _shown(path, config)
    for number, one in enumerate(rules, 1):
        if isinstance(one, dict) and _fits(one.get("path_regex") or "", shown, f"{config}, rule {number}"):
            return number, one
    return None


def _fits(pattern: str, shown: str, where: str) -> bool:
    return sops_regex.compiled(str(pattern), f"{where}: path_regex").search(shown) is not None


def _recipients(rule: dict[str, t.Any], where: str) -> list[str]:
    groups = rule.get("key_groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise InvalidInput(f"{where}: key_groups is not a list of groups", hint="A group has lists, such as age.")
    if len(groups) > 1:
        raise InvalidInput(f"{where} has several key_groups, which are not supported", hint="Give recipients.")
    found = [text for source in _sources(groups[0] if groups else rule) for text in _age_of(source, where)]
    if not found:
        raise InvalidInput(f"{where} names no age recipients", hint="Give recipients.")
    for recipient in found:
        age.parse_recipient(recipient)
    return list(dict.fromkeys(found))


def _sources(group: dict[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
    """The groups that a group merges, then itself."""
    for inner in group.get("merge") or []:
        if isinstance(inner, dict):
            yield from _sources(inner)
    yield group


def _age_of(source: dict[str, t.Any], where: str) -> list[str]:
    others = [name for name in _OTHERS if source.get(name)]
    if others:
        raise InvalidInput(f"{where} asks for {', '.join(others)}; only age is supported", hint="Give recipients.")
    given = source.get("age") or []
    texts = given if isinstance(given, list) else [given]
    found = [part.strip() for text in texts for part in str(text).split(",")]
    return [text for text in found if text]


def _rules(rule: dict[str, t.Any]) -> Rules:
    for name in _COMMENTS:
        if rule.get(name):
            raise InvalidInput(f"Creation rules with {name} are not supported")
    given = {name: str(rule.get(name) or "") for name in sops_values.RULES}
    return Rules(**given, mac_only_encrypted=bool(rule.get("mac_only_encrypted")))
