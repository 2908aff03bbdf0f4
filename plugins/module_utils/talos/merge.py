# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategic merge patches, as Talos's own tools merge them, on plain data.

Documents match by apiVersion, kind and name; a patch without a kind is for the v1alpha1 document. Mappings merge deep,
lists append, scalars replace; the tables below name what is replaced or merged by key. ``$patch: delete`` removes a key,
a list's item or a document. Patches are for what was generated, never for what was read back from a node: lists would
grow with every run.
"""

from __future__ import annotations

import copy
import re
import typing as t
import urllib.parse

from ..errors import InvalidInput
from . import config_schema, yaml_text
from .identity import MAIN, Document, describe, document_id

#: Replaced as a whole: (kind, path).
REPLACED = frozenset(
    {
        (MAIN, "cluster.network.podSubnets"),
        (MAIN, "cluster.network.serviceSubnets"),
        (MAIN, "cluster.apiServer.auditPolicy"),
        ("NetworkRuleConfig", "ingress"),
        ("NetworkRuleConfig", "portSelector.ports"),
        ("KubeNetworkConfig", "podSubnets"),
        ("KubeNetworkConfig", "serviceSubnets"),
        ("KubeAuditPolicyConfig", "configuration"),
        ("KubeAuthenticationConfig", "configuration"),
        ("KubeCredentialProviderConfig", "configuration"),
        ("KubeStaticPodConfig", "pod"),
        ("CRIBaseRuntimeSpecConfig", "overrides"),
        ("BGPInstanceConfig", "advertise"),
        ("BGPInstanceConfig", "importRoutes"),
        ("BGPInstanceConfig", "neighbors"),
    }
)
#: Lists whose items merge with the item that has the same key (the first of these that the item has).
KEYED: dict[tuple[str, str], tuple[str, ...]] = {
    (MAIN, "machine.network.interfaces"): ("interface", "deviceSelector"),
    (MAIN, "machine.network.interfaces.vlans"): ("vlanId",),
    (MAIN, "cluster.apiServer.admissionControl"): ("name",),
    ("ExtensionServiceConfig", "configFiles"): ("mountPath",),
}
#: The same, but the whole item is replaced: the last of those with that key.
KEYED_REPLACED: dict[tuple[str, str], tuple[str, ...]] = {("ImageVerificationConfig", "rules"): ("image",)}

#: A size of so many bytes stays when a patch has a share of the disk.
_LARGEST = "provisioning.maxSize"
_PROVISIONED = ("provisioning.diskSelector.match", "provisioning.minSize")
#: Addresses of servers, of which each part is merged alone: what a patch leaves out stays.
URLS = frozenset({("SideroLinkConfig", "apiUrl"), (MAIN, "cluster.controlPlane.endpoint")})
#: Words that are a zero to Talos: a patch that has one changes nothing.
ZEROES = {("NetworkDefaultActionConfig", "ingress"): "accept"}
#: Taken over from every patch of such a document, also when the patch leaves them out: they are gone then.
FORGOTTEN: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("VolumeConfig", "UserVolumeConfig", "RawVolumeConfig", "SwapVolumeConfig"), _PROVISIONED),
    "ExistingVolumeConfig": ("discovery.volumeSelector.match",),
    "OOMConfig": ("triggerExpression", "cgroupRankingExpression"),
    "LinkAliasConfig": ("selector.match",),
}

_ARGUMENTS = re.compile(r"(^|\.)extraArgs$")
_NO_JSON_PATCH = (
    "Talos refuses JSON patches on configs of several documents, which all configs since 1.12 are: "
    "write it as a strategic merge patch, the part of the config that shall be different."
)


def patches_from(given: t.Sequence[t.Any], where: str) -> list[Document]:
    """The documents of a list of patches, each a mapping or YAML text. ``where`` names the option in errors."""
    documents: list[Document] = []
    for index, item in enumerate(given):
        place = f"{where}[{index}]"
        for document in yaml_text.parsed(item, place) if isinstance(item, str) else [item]:
            documents.extend(_checked(document, place))
    return documents


def merged(documents: t.Sequence[Document], patches: t.Sequence[Document]) -> list[Document]:
    """The documents with the patches merged in, in order; the arguments stay as they are."""
    result = copy.deepcopy(list(documents))
    for patch in patches:
        _merge_document(result, patch)
    return result


def _checked(document: t.Any, place: str) -> list[Document]:
    if isinstance(document, list) or (isinstance(document, dict) and {"op", "path"} <= set(document)):
        raise InvalidInput(f"{place} is a JSON patch", hint=_NO_JSON_PATCH)
    if document is None or document == {}:
        return []
    if not isinstance(document, dict):
        raise InvalidInput(f"{place} is not a mapping but {type(document).__name__}")
    if document.get("kind") and not document.get("apiVersion"):
        raise InvalidInput(f"{place} has the kind {document['kind']} and no apiVersion", hint="Talos's is v1alpha1.")
    return [_with_words(document)]


def _with_words(document: Document) -> Document:
    """YAML 1.1 reads ``auto: off`` as false, where Talos means the word."""
    if document.get("kind") == "HostnameConfig" and document.get("auto") is False:
        return {**document, "auto": "off"}
    return document


def _merge_document(documents: list[Document], patch: Document) -> None:
    identifier = document_id(patch)
    index = next((i for i, document in enumerate(documents) if document_id(document) == identifier), None)
    if patch.get("$patch") == "delete":
        if identifier[1] == MAIN:
            raise InvalidInput("A patch deletes the v1alpha1 document, which every config must have")
        if index is not None:
            del documents[index]
        return
    body, deletions = _split(patch, ())
    if index is None:
        if body and not (deletions and set(body) <= {"apiVersion", "kind", "name", "version"}):
            documents.append(body)
        return
    for deletion in deletions:
        _delete(documents[index], deletion, describe(patch))
    if body and not deletions:
        for path in FORGOTTEN.get(identifier[1], ()):
            documents[index] = _without(documents[index], path.split("."))
    if body:
        documents[index] = _merge(documents[index], body, identifier[1], "")


def _without(document: Document, path: list[str]) -> Document:
    if path[0] not in document:
        return document
    rest = {key: value for key, value in document.items() if key != path[0]}
    inner = document[path[0]]
    return {**rest, path[0]: _without(inner, path[1:])} if len(path) > 1 and isinstance(inner, dict) else rest


def _merge(left: t.Any, right: t.Any, kind: str, path: str) -> t.Any:
    if right is None or (right in ("", 0) and not isinstance(right, bool) and left is not None):
        return left
    if left is None and isinstance(right, list):
        return _merge_list([], right, kind, path)  # its own items may have the same key
    if left is None:
        return copy.deepcopy(right)
    if (kind, path) in URLS:
        return _merged_url(str(left), str(right))
    if ZEROES.get((kind, path)) == right or (path == _LARGEST and _is_share(right) and not _is_share(left)):
        return left
    if isinstance(left, dict) and isinstance(right, dict):
        return _merge_mapping(left, right, kind, path)
    if isinstance(left, list) and isinstance(right, list):
        return _merge_list(left, right, kind, path)
    return copy.deepcopy(right)


def _merge_mapping(left: Document, right: Document, kind: str, path: str) -> Document:
    if (kind, path) in REPLACED:
        return copy.deepcopy(right)
    if _ARGUMENTS.search(path):
        return {**left, **copy.deepcopy(right)}
    result = dict(left)
    for key, value in right.items():
        result[key] = _merge(left.get(key), value, kind, f"{path}.{key}" if path else str(key))
    return result


def _merge_list(left: list[t.Any], right: list[t.Any], kind: str, path: str) -> list[t.Any]:
    if (kind, path) in REPLACED:
        return copy.deepcopy(right)
    names = KEYED.get((kind, path)) or KEYED_REPLACED.get((kind, path))
    if not names:
        return left + copy.deepcopy(right)
    result = list(left)
    for item in right:
        if (kind, path) in KEYED_REPLACED:
            index = _same_item(left[::-1], item, names)
            if index is not None:
                result[len(left) - 1 - index] = copy.deepcopy(item)
                continue
        else:
            index = _same_item(result, item, names)
            if index is not None:
                result[index] = _merge(result[index], item, kind, path)
                continue
        result.append(copy.deepcopy(item))
    return result


def _is_share(size: t.Any) -> bool:
    return str(size).strip().endswith("%")


def _merged_url(left: str, right: str) -> str:
    """Each part of the right one that is there: scheme, host with its port, path, query, fragment."""
    try:
        one, other = urllib.parse.urlsplit(left), urllib.parse.urlsplit(right)
    except ValueError:  # no URL: whoever checks the config says so
        return right
    return urllib.parse.urlunsplit([new or old for old, new in zip(one, other, strict=True)])


def _same_item(items: list[t.Any], item: t.Any, names: tuple[str, ...]) -> int | None:
    name = next((name for name in names if isinstance(item, dict) and item.get(name)), None)
    if name is None:
        return None
    return next((i for i, one in enumerate(items) if isinstance(one, dict) and one.get(name) == item[name]), None)


#: What to delete: the path, and for an item of a list the key and value that it is found by.
_Deletion = tuple[tuple[str, ...], t.Any, t.Any]
_ITEM = "[]"


def _split(node: t.Any, path: tuple[str, ...]) -> tuple[t.Any, list[_Deletion]]:
    """A patch without its ``$patch: delete`` marks (None when nothing else is in it), and what they delete."""
    if isinstance(node, dict) and node.get("$patch") == "delete":
        others = [(key, value) for key, value in node.items() if key != "$patch"]
        return None, [(path, *(others[0] if others else (None, None)))]
    if isinstance(node, dict):
        pairs = [(key, *_split(value, (*path, str(key)))) for key, value in node.items()]
        kept: t.Any = {key: value for key, value, deleted in pairs if not (value is None and deleted)}
        deletions = [deletion for _key, _value, deleted in pairs for deletion in deleted]
    elif isinstance(node, list):
        parts = [_split(value, (*path, _ITEM)) for value in node]
        kept = [value for value, deleted in parts if not (value is None and deleted)]
        deletions = [deletion for _value, deleted in parts for deletion in deleted]
    else:
        return node, []
    return (None if deletions and not kept else kept), deletions


def _delete(document: Document, deletion: _Deletion, name: str) -> None:
    path, key, value = deletion
    where = ".".join(path).replace(f".{_ITEM}", _ITEM)
    if config_schema.is_whole(document, path):
        hint = "Talos deletes only the whole of it: write the new value in its place."
        raise InvalidInput(f"A patch deletes {where} of {name}, which is a part of a key or certificate", hint=hint)
    missing = InvalidInput(f"A patch deletes {where} of {name}, which is not there")
    current: t.Any = document
    for part in path[:-1]:
        if part == _ITEM or not isinstance(current, dict) or current.get(part) is None:
            raise missing
        current = current[part]
    if path[-1] == _ITEM:
        found = [i for i, one in enumerate(current or []) if isinstance(one, dict) and str(one.get(key)) == str(value)]
        if not found:
            raise missing
        del current[found[0]]
    elif isinstance(current, dict) and path[-1] in current:
        del current[path[-1]]
    elif not isinstance(current, dict) or not config_schema.is_field(document, path):
        raise missing
