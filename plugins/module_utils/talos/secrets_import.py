# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secrets bundle out of what a cluster has: a control plane's machine config, or a ``secrets.yaml`` of talosctl."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..sops import age_keys
from ..task import Task
from . import credentials, documents, inputs, secrets_bundle
from .node import Connector
from .secrets_bundle import Bundle

#: Where each value of a bundle stands in a machine config. Source: NewBundleFromConfig of Talos's machinery.
PLACES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("cluster", "id"): ("cluster", "id"),
    ("cluster", "secret"): ("cluster", "secret"),
    ("secrets", "bootstraptoken"): ("cluster", "token"),
    ("secrets", "secretboxencryptionsecret"): ("cluster", "secretboxEncryptionSecret"),
    ("secrets", "aescbcencryptionsecret"): ("cluster", "aescbcEncryptionSecret"),
    ("trustdinfo", "token"): ("machine", "token"),
    ("certs", "etcd"): ("cluster", "etcd", "ca"),
    ("certs", "k8s"): ("cluster", "ca"),
    ("certs", "k8saggregator"): ("cluster", "aggregatorCA"),
    ("certs", "k8sserviceaccount"): ("cluster", "serviceAccount"),
    ("certs", "os"): ("machine", "ca"),
}


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, or a node and the talosconfig that opens it."""

    file: pathlib.Path | None = None
    node: str = ""

    def __str__(self) -> str:
        return str(self.file) if self.file else f"the node {self.node}"

    def read(self, task: Task) -> Bundle:
        """Raises :class:`InvalidInput` where it is neither, or not a control plane's."""
        if self.file is None:
            return _of_config(documents.parse(self._asked(task)), str(self))
        text = private_files.read(self.file, "secrets bundle or machine config")
        try:
            found = documents.parse(text)
        except ValueError:
            raise InvalidInput(f"{self.file} is neither a secrets bundle nor a machine config") from None
        config = any("machine" in document for document in found)
        if config:
            private_files.refuse_open(self.file)
            return _of_config(found, str(self))
        return secrets_bundle.load(self.file, lambda: age_keys.age_identities(task))

    def _asked(self, task: Task) -> str:
        """The active config of a node, which only an administrator may read."""
        given = credentials.option(task.params, "talosconfig")
        if given is None:
            raise InvalidInput("import_node needs talosconfig", hint="It says who asks the node.")
        identity = credentials.from_talosconfig(task, pathlib.Path(given).expanduser())
        timeout = inputs.positive(task.params["timeout"], "timeout")
        node = inputs.Node(self.node, self.node, "controlplane")
        with Connector(identity, timeout).open(node) as client:
            text = client.machine_config("v1alpha1")
        if text is None:
            raise InvalidInput(f"{self} has no machine config", hint="Is it in maintenance mode?")
        return text


def source(params: t.Mapping[str, t.Any]) -> Source | None:
    """What the task asks to take over, if anything."""
    file, node = params.get("import_from"), params.get("import_node")
    if file:
        return Source(pathlib.Path(file).expanduser().absolute())
    return Source(node=inputs.address(node, "import_node")) if node else None


def _of_config(found: t.Sequence[t.Any], where: str) -> Bundle:
    config = next((one for one in found if isinstance(one, dict) and "machine" in one), None)
    if config is None:
        raise InvalidInput(f"The machine config of {where} has no document with machine and cluster")
    kind = _at(config, ("machine", "type"))
    if kind not in ("controlplane", "init"):
        raise InvalidInput(
            f"The machine config of {where} is that of a {kind or 'machine without a type'}, which has no keys of authorities",
            hint="Take that of a control plane node.",
        )
    data: dict[str, t.Any] = {}
    for place, path in PLACES.items():
        value = _at(config, path)
        if value:
            data.setdefault(place[0], {})[place[1]] = dict(value) if isinstance(value, dict) else value
    return secrets_bundle.checked(
        data, f"What is in the machine config of {where}", "Take the config of a control plane node, with its keys."
    )


def _at(value: t.Any, path: t.Sequence[str]) -> t.Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
