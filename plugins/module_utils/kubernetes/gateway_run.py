# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan, apply and wait for objects of the Gateway API, whatever versions of it the cluster has."""

from __future__ import annotations

import typing as t

from ..errors import HomelabError, NotFound
from ..plan import Plan
from ..task import Result, Task
from ..waiting import Deadline
from . import client as clients
from . import documents, manifests, readiness
from .documents import identity
from .gateway_spec import Object
from .items import Options
from .readiness_gateway import GROUP, addresses, parent_label

#: Where a kind is not served yet, and check mode takes it as brought by an earlier task: its version since v1.6.
PREDICTED = "v1"

ACCEPTED = readiness.Purpose(
    "{objects} accepted by its parents",
    "The parent's listeners say which routes they allow; what a route refers to must be there, or be granted.",
    "is accepted",
)
PROGRAMMED = readiness.Purpose(
    "{objects} programmed, with an address",
    "Look at the Gateway's conditions and those of its listeners; has its class a controller?",
    "is programmed",
)

#: From a task's parameters, and the namespace where none is named, to objects without apiVersion.
Builder = t.Callable[[t.Mapping[str, t.Any], str], list[Object]]
#: What a task returns of an object: as it is wanted, and as it was seen last.
Shown = t.Callable[[Object, "Object | None"], Result]


class Work:
    """What a task wants of the Gateway API. The objects are told apart by whether they have a spec."""

    def __init__(self, task: Task, build: Builder, name: str, show: Shown, purpose: readiness.Purpose) -> None:
        self.task, self.build, self.name, self.show, self.purpose = task, build, name, show, purpose

    def run(self) -> Result:
        """Read, plan, and apply unless in check mode. All input is checked before anybody is asked."""
        task = self.task
        objects = self.build(task.params, task.params["namespace"] or "default")
        if task.check_mode and task.params["planned"]:
            return self._predict(objects)
        cluster = clients.connect(task.params, task.progress)
        task.secret(*cluster.access.secrets())
        objects = self.build(task.params, task.params["namespace"] or cluster.access.namespace)
        return self._run(cluster, objects)

    def _predict(self, objects: list[Object]) -> Result:
        wanted = [versioned(one, PREDICTED) for one in objects if "spec" in one]
        plan = manifests.predicted_plan(wanted, self._options(self.task.params["namespace"] or "default"))
        return self._result(plan, wanted, {})

    def _run(self, cluster: clients.Client, objects: list[Object]) -> Result:
        versions = self._versions(cluster, objects)
        options = self._options(cluster.access.namespace)
        wanted = [versioned(one, versions[one["kind"]]) for one in objects if "spec" in one]
        wanted = documents.checked([documents.Source(identity(one), one) for one in wanted])
        unwanted = [
            versioned(one, versions[one["kind"]]) for one in objects if "spec" not in one and one["kind"] in versions
        ]
        present = manifests.Manifests(cluster, wanted, options, self.task.warn)
        absent = manifests.Manifests(cluster, unwanted, options, self.task.warn)
        additions, removals = present.plan(), absent.plan_removal()
        plan = additions + removals
        if self.task.check_mode:
            return self._result(plan, wanted, self._looked_at(cluster, present, additions))
        deadline = Deadline(self.task.params["wait_timeout"])
        present.apply(additions, deadline)
        seen: dict[str, Object] = {}
        with Made(plan, additions) as made:
            absent.remove(removals, deadline)
            made.all = True
            if self.task.params["wait"]:
                seen = self._wait(cluster, present, deadline)
                readiness.wait_until_gone(cluster, absent.targets(), deadline)
        return self._result(plan, wanted, seen)

    def _options(self, namespace: str) -> Options:
        params = self.task.params
        return Options(
            manager=params["field_manager"],
            force=params["force_conflicts"],
            namespace=params["namespace"] or namespace,
            predict=self.task.check_mode,
        )

    def _versions(self, cluster: clients.Client, objects: list[Object]) -> dict[str, str]:
        """The newest version that the server has of each kind. A kind that it has not, and that is only to be absent, is none."""
        found = {}
        for kind in dict.fromkeys(one["kind"] for one in objects):
            served = cluster.discovery.versions(GROUP, kind)
            if served:
                found[kind] = served[0].rpartition("/")[2]
            elif any(one["kind"] == kind and "spec" in one for one in objects):
                found[kind] = self._unserved(cluster, kind)
        return found

    def _unserved(self, cluster: clients.Client, kind: str) -> str:
        if self.task.check_mode:
            return PREDICTED
        kinds = ", ".join(cluster.kinds(f"{GROUP}/v1"))
        raise NotFound(
            f"find the kind {kind}",
            of=cluster.of,
            answer=f"{GROUP}/v1 has {kinds}" if kinds else f"the server does not serve {GROUP}",
            hint="Apply the CustomResourceDefinitions of the Gateway API first; before v1.5 some of its routes are only in the "
            "experimental channel.",
        )

    # -- seeing how they are -----------------------------------------------------------------------------------------

    def _wait(self, cluster: clients.Client, present: manifests.Manifests, deadline: Deadline) -> dict[str, Object]:
        outcomes = readiness.wait(cluster, _wants(present), deadline, self.purpose)
        return _seen(outcomes)

    def _looked_at(self, cluster: clients.Client, present: manifests.Manifests, additions: Plan) -> dict[str, Object]:
        """Those that stay as they are, as they are: what a run would wait for in vain is warned of."""
        changed = {change.resource for change in additions}
        wants = [want for want in _wants(present) if want.identity not in changed]
        outcomes = readiness.look(cluster, wants)
        for one in outcomes:
            if one.reason and self.task.params["wait"]:
                self.task.warn(f"{one.want.label} is not ready, a run would wait for it: {one.reason}.")
        return _seen(outcomes)

    def _result(self, plan: Plan, wanted: list[Object], seen: t.Mapping[str, Object]) -> Result:
        shown = [self.show(one, seen.get(identity(one))) for one in wanted]
        return self.task.result(plan, **{self.name: shown})


class Made:
    """Puts into an error what was made before it: the additions, or ``all``."""

    def __init__(self, plan: Plan, additions: Plan) -> None:
        self.plan, self.additions, self.all = plan, additions, False

    def __enter__(self) -> Made:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, HomelabError):
            error.made = self.plan.as_result() if self.all else [*self.additions.as_result(), *error.made]


def versioned(wanted: Object, version: str) -> Object:
    return {"apiVersion": f"{GROUP}/{version}", **wanted}


def _wants(present: manifests.Manifests) -> list[readiness.Want]:
    return [
        readiness.Want(
            item.wanted["kind"], item.wanted["apiVersion"], item.namespace, item.name, resource=item.resource
        )
        for item in present.items
        if item.resource is not None
    ]


def _seen(outcomes: t.Sequence[readiness.Outcome]) -> dict[str, Object]:
    return {one.want.identity: one.objects[0] for one in outcomes if one.objects}


def shown_route(wanted: Object, _live: Object | None) -> Result:
    """``resource``, ``api_version``, ``hostnames``, ``parents``."""
    spec, namespace = wanted["spec"], wanted["metadata"]["namespace"]
    return {
        "resource": identity(wanted),
        "api_version": wanted["apiVersion"],
        "hostnames": spec.get("hostnames", []),
        "parents": [parent_label(parent, namespace) for parent in spec["parentRefs"]],
    }


def shown_gateway(wanted: Object, live: Object | None) -> Result:
    """``resource``, ``api_version``, ``class``, ``listeners``, and ``addresses`` if somebody has looked."""
    spec = wanted["spec"]
    found = {
        "resource": identity(wanted),
        "api_version": wanted["apiVersion"],
        "class": spec["gatewayClassName"],
        "listeners": [one["name"] for one in spec["listeners"]],
    }
    return {**found, **({"addresses": addresses(live)} if live else {})}
