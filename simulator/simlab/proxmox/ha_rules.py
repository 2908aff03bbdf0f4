# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of high availability: which nodes resources prefer, which of them belong together or apart."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import formats, schema
from .api import Call, handles
from .errors import Failure, ParameterError
from .firewall import CHANGED

_RULES = "/cluster/ha/rules"
_ONE = f"{_RULES}/{{rule}}"
Rule = dict[str, t.Any]

#: What the API's description leaves open.
_PROPERTIES: schema.Properties = {
    "rule": {"type": "string", "format": "pve-configid"},
    "type": {"type": "string", "enum": ["node-affinity", "resource-affinity"]},
    "resources": {"type": "string", "format": "pve-ha-resource-id-list"},
    "nodes": {"type": "string", "format": "pve-ha-node-list", "optional": 1},
    "strict": {"type": "boolean", "optional": 1},
    "affinity": {"type": "string", "enum": ["positive", "negative"], "optional": 1},
    "disable": {"type": "boolean", "optional": 1},
    "comment": {"type": "string", "maxLength": 4096, "optional": 1},
}
_CHANGE: schema.Properties = {
    **{name: {**spec, "optional": 1} for name, spec in _PROPERTIES.items()},
    "delete": {"type": "string", "format": "pve-configid-list", "optional": 1},
    "digest": {"type": "string", "maxLength": 64, "optional": 1},
}
#: By type: what a rule must have, what it may have.
_REQUIRED = {"node-affinity": ("resources", "nodes"), "resource-affinity": ("resources", "affinity")}
_OPTIONAL = {"node-affinity": ("strict", "disable", "comment"), "resource-affinity": ("disable", "comment")}


def _known(call: Call) -> dict[str, Rule]:
    return t.cast("dict[str, Rule]", call.cluster.extra("ha_rules", dict))


def _check(call: Call, properties: schema.Properties) -> None:
    errors = schema.check_parameters({"properties": properties, "additionalProperties": 0}, call.params)
    if errors:
        raise ParameterError(errors)


# -- reading ----------------------------------------------------------------------------------------------


def _digest(call: Call) -> str:
    return hashlib.sha1(json.dumps(_known(call)).encode(), usedforsecurity=False).hexdigest()


def _shown(call: Call, name: str) -> Rule:
    known = _known(call)
    found = {"rule": name, **known[name], "order": list(known).index(name) + 1, "digest": _digest(call)}
    errors = _infeasible(call, known).get(name)
    return found | ({"errors": {"resources": errors}} if errors else {})


@handles("GET", _RULES)
def listing(call: Call) -> list[Rule]:
    kind, resource = call.params.get("type"), call.params.get("resource")
    return [
        _shown(call, name)
        for name, rule in _known(call).items()
        if kind in (None, rule["type"]) and (resource is None or resource in rule["resources"].split(","))
    ]


@handles("GET", _ONE)
def get(call: Call) -> Rule:
    name = call.text("rule")
    if name not in _known(call):
        raise Failure(f"no such ha rule '{name}'")
    return _shown(call, name)


# -- changing ---------------------------------------------------------------------------------------------


@handles("POST", _RULES)
def add(call: Call) -> None:
    _check(call, _PROPERTIES)
    name, kind = call.text("rule"), call.text("type")
    given = _given(call, kind)
    for key in _REQUIRED[kind]:
        if key not in given:
            raise Failure(f"missing value for required option '{key}'")
    if name in _known(call):
        raise Failure(f"create ha rule failed: HA rule '{name}' already defined")
    _store(call, name, {"type": kind, **given}, "create ha rule failed")


def _given(call: Call, kind: str) -> Rule:
    """What was sent, as it is kept; raises Failure for what rules of the type have not got."""
    given: Rule = {}
    for key, value in call.params.items():
        if key in ("rule", "type", "delete", "digest") or (key == "disable" and value == "0"):
            continue
        if key not in _REQUIRED[kind] and key not in _OPTIONAL[kind]:
            raise Failure(f"unexpected property '{key}'")
        given[key] = _canonical(key, str(value))
    return given


def _canonical(key: str, value: str) -> t.Any:
    if key in ("strict", "disable"):
        return int(value)
    if key == "resources":
        return ",".join(sorted(set(formats.split_list(value))))
    if key == "nodes":  # a priority of zero is none
        return ",".join(sorted(node.removesuffix(":0") for node in formats.split_list(value)))
    return value


@handles("PUT", _ONE)
def update(call: Call) -> None:
    _check(call, _CHANGE)
    name, failed = call.text("rule"), "update HA rules failed"
    if call.params.get("digest") not in (None, _digest(call)):
        raise Failure(f"{failed}: {CHANGED}")
    if name not in _known(call):
        raise Failure(f"{failed}: HA rule '{name}' does not exist")
    rule = dict(_known(call)[name])
    kind = str(rule["type"])
    if call.text("type", kind) != kind:
        raise Failure(f"{failed}: unexpected property 'type'")
    try:
        given = _given(call, kind)
        for key in formats.split_list(call.text("delete")):
            _drop(rule, kind, key, given)
    except Failure as error:
        raise Failure(f"{failed}: {error}") from None
    _store(call, name, {**rule, **given}, failed)


def _drop(rule: Rule, kind: str, key: str, given: Rule) -> None:
    if key in _REQUIRED[kind]:
        raise Failure(f"unable to delete required option '{key}'")
    if key not in _OPTIONAL[kind]:
        raise Failure(f"no such option '{key}'")
    if key in given:
        raise Failure(f"cannot set and delete property '{key}' at the same time!")
    rule.pop(key, None)


def _store(call: Call, name: str, rule: Rule, failed: str) -> None:
    managed = call.cluster.extra("ha", dict)
    strange = [sid for sid in rule["resources"].split(",") if sid not in managed]
    if not rule["resources"]:
        raise Failure(f"{failed}: no resources were specified")
    if strange:
        raise Failure(f"{failed}: cannot use unmanaged resource(s) {', '.join(strange)}.")
    nodes = {node.partition(":")[0] for node in str(rule.get("nodes", "")).split(",") if node}
    if "nodes" in rule and not nodes:
        raise Failure(f"{failed}: no nodes were specified")
    if nodes - set(call.cluster.nodes):
        raise Failure(
            f"{failed}: cannot use non-existent node(s) {', '.join(sorted(nodes - set(call.cluster.nodes)))}."
        )
    errors = _infeasible(call, {**_known(call), name: rule}).get(name)
    if errors:
        raise Failure(f"{failed}: 400 Rule '{name}' is invalid.\nresources: {', '.join(errors)}")
    _known(call)[name] = rule


@handles("DELETE", _ONE)
def delete(call: Call) -> None:
    _known(call).pop(call.text("rule"), None)


def forget(rules: dict[str, Rule], sid: str) -> None:
    """A resource is none any more: rules go without it, those of it alone go too."""
    for name, rule in list(rules.items()):
        rest = [other for other in rule["resources"].split(",") if other != sid]
        rule["resources"] = ",".join(rest)
        if not rest:
            del rules[name]


# -- whether rules can be kept ----------------------------------------------------------------------------


def _infeasible(call: Call, rules: dict[str, Rule]) -> dict[str, list[str]]:
    """What is wrong with each rule, as far as rules stand alone or in pairs."""
    nodes = len(call.cluster.nodes) if call.cluster.config.ha_manager else 0  # nobody has counted them
    active = {name: rule for name, rule in rules.items() if not rule.get("disable")}
    sets = {name: set(rule["resources"].split(",")) for name, rule in active.items()}
    found: dict[str, list[str]] = {}
    by_kind = {kind: [name for name, rule in active.items() if rule["type"] == kind] for kind in _REQUIRED}
    for name in by_kind["node-affinity"]:
        others = [sets[other] for other in by_kind["node-affinity"] if other != name]
        found[name] = [
            f"resource '{sid}' is already used in another node affinity rule"
            for sid in sorted(sets[name])
            if any(sid in other for other in others)
        ]
    apart = [name for name in by_kind["resource-affinity"] if active[name]["affinity"] == "negative"]
    for name in by_kind["resource-affinity"]:
        few = ["rule is ineffective as there are less than two resources"] if len(sets[name]) < 2 else []
        many = ["rule defines more resources than available nodes"] if name in apart and len(sets[name]) > nodes else []
        opposite = [other for other in by_kind["resource-affinity"] if (other in apart) != (name in apart)]
        word = "positive" if name in apart else "negative"
        clash = any(len(sets[name] & sets[other]) > 1 for other in opposite)
        text = f"rule shares two or more resources with a {word} resource affinity rule"
        found[name] = few + many + ([text] if clash else [])
    return {name: errors for name, errors in found.items() if errors}
