# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of nodes, and what must change for it: labels, annotations, taints, scheduling. Pure."""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t

from ..errors import InvalidInput
from ..plan import Change
from . import shown

Object = dict[str, t.Any]

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
#: Taints under these names are set and removed by Kubernetes itself, from what it knows of the node.
CLUSTERS_OWN = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
#: What a node of the list may say for itself.
OWN_OPTIONS = frozenset({"name", "labels", "annotations", "taints", "schedulable"})


@dataclasses.dataclass(frozen=True)
class Taint:
    """``effect`` is empty only where ``wanted`` is not: all taints of this key go."""

    key: str
    value: str = ""
    effect: str = ""
    wanted: bool = True

    def as_field(self) -> dict[str, str]:
        return {"key": self.key, **({"value": self.value} if self.value else {}), "effect": self.effect}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One node: no value means that the label or annotation goes; ``schedulable`` of nothing leaves it as it is."""

    name: str
    labels: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    annotations: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    purge_taints: bool = False
    schedulable: bool | None = None


# -- what the user gave ------------------------------------------------------------------------------------------------


def wanted_of(params: t.Mapping[str, t.Any]) -> list[Wanted]:
    """The nodes of a task; what one says for itself goes before what is said for all. Raises :class:`InvalidInput`."""
    if not params["nodes"]:
        raise InvalidInput("nodes is empty", hint="Name at least one node.")
    found = [_node(given, params) for given in params["nodes"]]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"nodes has {', '.join(twice)} twice")
    return found


def cordoned(wanted: t.Sequence[Wanted]) -> list[Wanted]:
    """The same for a drain. Raises :class:`InvalidInput` where one is to be schedulable."""
    for one in wanted:
        if one.schedulable:
            raise InvalidInput(
                f"node {one.name} cannot be drained and schedulable", hint="Drop schedulable, or the state."
            )
    return [dataclasses.replace(one, schedulable=False) for one in wanted]


def only_names(wanted: t.Sequence[Wanted], params: t.Mapping[str, t.Any]) -> None:
    """Nodes that are to be absent have nothing else. Raises :class:`InvalidInput`."""
    for one in wanted:
        if one.labels or one.annotations or one.taints or one.schedulable is not None or params.get("purge_taints"):
            raise InvalidInput(f"node {one.name} is to be absent, so nothing else can be wanted of it")


def _node(given: t.Any, params: t.Mapping[str, t.Any]) -> Wanted:
    own = {"name": given} if isinstance(given, str) else given
    if not isinstance(own, dict) or not isinstance(own.get("name"), str):
        raise InvalidInput(f"an entry of nodes must be a name, or a mapping with name; this is {given!r}")
    name = own["name"]
    if not NAME.fullmatch(name):
        raise InvalidInput(f"nodes: {name!r} is not the name of a node")
    unknown = sorted(set(own) - OWN_OPTIONS)
    if unknown:
        raise InvalidInput(f"node {name}: unknown {', '.join(unknown)}; there is {', '.join(sorted(OWN_OPTIONS))}")
    schedulable = own.get("schedulable", params.get("schedulable"))
    if not isinstance(schedulable, (bool, type(None))):
        raise InvalidInput(f"node {name}: schedulable is {schedulable!r}, it must be true or false")
    return Wanted(
        name,
        labels=_texts(name, "labels", params, own),
        annotations=_texts(name, "annotations", params, own),
        taints=_taints(name, [*_list(name, params.get("taints")), *_list(name, own.get("taints"))]),
        purge_taints=bool(params.get("purge_taints")),
        schedulable=schedulable,
    )


def _texts(node: str, field: str, params: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for given in (params.get(field) or {}, own.get(field) or {}):
        if not isinstance(given, dict):
            raise InvalidInput(f"node {node}: {field} must be a mapping, this is {given!r}")
        for key, value in given.items():
            if not KEY.fullmatch(str(key)):
                raise InvalidInput(f"node {node}: {field} has {key!r}, which is not a key such as example.com/rack")
            found[str(key)] = _text(node, field, str(key), value)
    return found


def _text(node: str, field: str, key: str, value: t.Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise InvalidInput(f"node {node}: {field} {key} is {value!r}, it must be text, or null to remove it")
    if field == "labels" and not VALUE.fullmatch(str(value)):
        hint = (
            "A label's value has at most 63 letters, digits, dots, dashes and underscores. Annotations take any text."
        )
        raise InvalidInput(f"node {node}: label {key} cannot be {str(value)!r}", hint=hint)
    return str(value)


def _list(node: str, given: t.Any) -> list[t.Any]:
    if given is not None and not isinstance(given, list):
        raise InvalidInput(f"node {node}: taints must be a list, this is {given!r}")
    return given or []


def _taints(node: str, given: list[t.Any]) -> tuple[Taint, ...]:
    """The last one of each key and effect."""
    found: dict[tuple[str, str], Taint] = {}
    for one in given:
        taint = _taint(node, one)
        found.pop((taint.key, taint.effect), None)
        found[taint.key, taint.effect] = taint
    return tuple(found.values())


def _taint(node: str, given: t.Any) -> Taint:
    if not isinstance(given, dict) or not KEY.fullmatch(str(given.get("key") or "")):
        raise InvalidInput(f"node {node}: a taint needs a key such as example.com/gpu; this is {given!r}")
    key, effect, state = str(given["key"]), str(given.get("effect") or ""), given.get("state") or "present"
    unknown = sorted(set(given) - {"key", "value", "effect", "state"})
    if unknown or state not in ("present", "absent"):
        problem = f"unknown {', '.join(unknown)}" if unknown else f"state is {state!r}, it must be present or absent"
        raise InvalidInput(f"node {node}: taint {key}: {problem}")
    if effect not in EFFECTS and (effect or state == "present"):
        raise InvalidInput(f"node {node}: taint {key}: effect is {effect!r}, it must be one of {', '.join(EFFECTS)}")
    if key == "node.kubernetes.io/unschedulable":
        raise InvalidInput(f"node {node}: taint {key} is the cluster's own", hint="Set schedulable in its place.")
    value = _text(node, "labels", f"(the value of taint {key})", given.get("value")) or ""
    return Taint(key, value, effect, state == "present")


# -- plan --------------------------------------------------------------------------------------------------------------


def predicted(live: Object, wanted: Wanted) -> Object:
    """The Node as it is to be; what nothing is said of stays."""
    result = copy.deepcopy(live)
    for field, entries in (("labels", wanted.labels), ("annotations", wanted.annotations)):
        now = {**(result["metadata"].get(field) or {}), **entries}
        if now:
            result["metadata"][field] = {key: value for key, value in now.items() if value is not None}
    spec = result.setdefault("spec", {})
    taints = _tainted(spec.get("taints") or [], wanted)
    if taints != (spec.get("taints") or []):
        spec["taints"] = taints
    if wanted.schedulable is not None and bool(spec.get("unschedulable")) is wanted.schedulable:
        spec.pop("unschedulable", None)
        if not wanted.schedulable:
            spec["unschedulable"] = True
    return result


def _tainted(now: list[Object], wanted: Wanted) -> list[Object]:
    """The taints that stay, in their places, then the new ones."""
    given = {(taint.key, taint.effect): taint for taint in wanted.taints}
    gone = {taint.key for taint in wanted.taints if not taint.wanted and not taint.effect}
    kept: list[Object] = []
    for taint in now:
        asked = given.pop((taint["key"], taint["effect"]), None)
        if asked is not None and asked.wanted:
            same = asked.value == (taint.get("value") or "")
            kept.append(taint if same else dict(asked.as_field()))
        elif asked is None and taint["key"] not in gone and not _purged(taint, wanted):
            kept.append(taint)
    return kept + [dict(taint.as_field()) for taint in given.values() if taint.wanted]


def _purged(taint: Object, wanted: Wanted) -> bool:
    return wanted.purge_taints and not taint["key"].startswith(CLUSTERS_OWN)


def patch_of(live: Object, wanted: Wanted) -> Object:
    """The merge patch that makes it so, or an empty one. Taints are one field, so the patch is for this version only."""
    result = predicted(live, wanted)
    meta: Object = {}
    for field in ("labels", "annotations"):
        old, new = live["metadata"].get(field) or {}, result["metadata"].get(field) or {}
        changed = {key: new.get(key) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
        if changed:
            meta[field] = changed
    spec: Object = {}
    if (live["spec"].get("taints") or []) != (result["spec"].get("taints") or []):
        spec["taints"] = result["spec"].get("taints") or None
        meta["resourceVersion"] = live["metadata"]["resourceVersion"]
    if bool(live["spec"].get("unschedulable")) != bool(result["spec"].get("unschedulable")):
        spec["unschedulable"] = True if result["spec"].get("unschedulable") else None
    return {key: value for key, value in (("metadata", meta), ("spec", spec)) if value}


def change_of(live: Object, wanted: Wanted) -> Change | None:
    """The change of this node; nothing if it is as wanted."""
    if not patch_of(live, wanted):
        return None
    before, after = shown.differing(_filled(live), _filled(predicted(live, wanted)))
    return Change(f"Node/{wanted.name}", "update", before, after, _note(live, wanted), operation=wanted)


def _filled(node: Object) -> Object:
    """With maps of labels, annotations and taints, so that each entry of them is shown by itself."""
    taints = {f"{one['key']}:{one['effect']}": one.get("value") or "" for one in node["spec"].get("taints") or []}
    meta = {"labels": {}, "annotations": {}, **node["metadata"]}
    return {**node, "metadata": meta, "spec": {**node["spec"], "taints": taints}}


def _note(live: Object, wanted: Wanted) -> str:
    spec = live.get("spec") or {}
    if wanted.schedulable is None or bool(spec.get("unschedulable")) is not wanted.schedulable:
        return ""
    return "uncordoned" if wanted.schedulable else "cordoned"
