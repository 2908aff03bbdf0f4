# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May we do this? Asked of the API server before anything is written, for requests that have no dry run of their own."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AccessDenied
from .client import Client
from .together import together

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclasses.dataclass(frozen=True)
class Right:
    """A verb on a resource, as roles name them: ``create`` on ``pods/eviction``. No namespace means all of them."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""

    @property
    def text(self) -> str:
        group = f" of {self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}" + (f" in namespace {self.namespace}" if self.namespace else "")


#: Who has this has all others.
EVERYTHING = Right("*", "*", "*")


def demand(client: Client, rights: t.Iterable[Right], asked: str) -> None:
    """Raise AccessDenied with all rights that are missing. One request for each of them."""
    wanted = list(dict.fromkeys(rights))
    held = together(lambda right: has(client, right), wanted)
    missing = [right.text for right, is_held in zip(wanted, held, strict=True) if not is_held]
    if missing:
        raise AccessDenied(
            asked,
            of=client.of,
            answer=f"the kubeconfig's user may not {', nor '.join(missing)}",
            hint="Give that user a role with these verbs on these resources. Nothing was changed.",
            missing=missing,
        )


def has(client: Client, right: Right) -> bool:
    """Whether we may."""
    resource, _slash, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = client.create(REVIEWS, review, f"ask whether we may {right.text}")
    return bool((answer.get("status") or {}).get("allowed"))
