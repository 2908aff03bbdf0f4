# SPDX-License-Identifier: GPL-3.0-or-later
"""The COSI resource types that exist, from ``resource_types.txt``, and how a node describes them to clients."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from . import schema

#: Plural endings and what they are in the singular; the first that fits counts.
_SINGULAR = (("caches", "cach"), ("shes", "sh"), ("uses", "us"), ("ies", "y"), ("esses", "ess"), ("s", ""))


@dataclasses.dataclass(frozen=True)
class ResourceType:
    name: str  # "MachineStatuses.runtime.talos.dev"
    namespace: str  # its default one
    sensitive: bool  # for admins only
    own_aliases: tuple[str, ...] = ()
    only_own: bool = False
    columns: tuple[tuple[str, str], ...] = ()  # of its table: name, path in the spec

    @property
    def display(self) -> str:
        """``MachineStatus``."""
        plural = self.name.partition(".")[0]
        ending, singular = next((pair for pair in _SINGULAR if plural.endswith(pair[0])), ("", ""))
        return plural.removesuffix(ending) + singular

    @property
    def aliases(self) -> list[str]:
        """``mounts``, ``machinestatus``, ``ms``: the singular, and the initials where there are several."""
        if self.only_own:
            return list(self.own_aliases)
        initials = "".join(char for char in self.name.partition(".")[0] if char.isupper()).lower()
        made = [self.display.lower()]
        if len(initials) > 1:
            made += [initials] if initials.endswith("s") else [initials, f"{initials}s"]
        return [*self.own_aliases, *made]

    def spec(self) -> dict[str, t.Any]:
        """Its definition, as a resource of its own has it."""
        parts = self.name.split(".")
        beginnings = [".".join([parts[0].lower(), *parts[1:end]]) for end in range(1, len(parts))]
        sensitive = {"sensitivity": "sensitive"} if self.sensitive else {}
        return {
            "type": self.name,
            "displayType": self.display,
            "defaultNamespace": self.namespace,
            "aliases": self.aliases,
            "allAliases": [*([] if self.only_own else beginnings), *self.aliases],
            **({"skipAutomaticAliases": True} if self.only_own else {}),
            "printColumns": [{"name": name, "jsonPath": path} for name, path in self.columns],
            **sensitive,
        }

    def message(self) -> bytes:
        """The same in protobuf: clients read definitions so."""
        spec = self.spec()
        made = schema.message("cosi.resource.ResourceDefinitionSpec")(
            resource_type=self.name,
            display_type=self.display,
            default_namespace=self.namespace,
            aliases=spec["aliases"],
            all_aliases=spec["allAliases"],
            print_columns=[{"name": name, "json_path": path} for name, path in self.columns],
            sensitivity=int(self.sensitive),
        )
        return t.cast(bytes, made.SerializeToString())


def _load() -> dict[str, ResourceType]:
    text = pathlib.Path(__file__).with_name("resource_types.txt").read_text(encoding="utf-8")
    found: dict[str, ResourceType] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith("  "):
            path, _, name = line.strip().partition(" ")
            found[last] = dataclasses.replace(found[last], columns=(*found[last].columns, (name, path)))
        elif line and not line.startswith("#"):
            last, namespace, access, *own = line.split()
            aliases = own[0].removeprefix("=").split(",") if own else []
            only_own = bool(own) and own[0].startswith("=")
            found[last] = ResourceType(last, namespace, access == "sensitive", tuple(aliases), only_own)
    return found


TYPES = _load()
NAMESPACES = frozenset(
    {type_.namespace for type_ in TYPES.values()} | {"cluster-raw", "network-config", "network", "kubespan"}
)
