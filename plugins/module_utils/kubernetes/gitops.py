# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applications of Argo CD and objects of Flux: read, plan what to ask for, ask, wait, and say why not."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import Conflict, HomelabError, InvalidInput, NotFound, TaskFailed, WaitTimeout
from ..plan import Change, Plan
from ..waiting import Deadline
from . import gitops_argo, gitops_flux, readiness
from .client import Client, Object
from .conditions import Failure
from .discovery import Resource
from .gitops_inputs import GROUPS, Asked
from .gitops_why import explained
from .readiness import Purpose, Want
from .together import together

#: How often an Application is looked at again because somebody else has changed it meanwhile.
ATTEMPTS = 5

#: What others are built of comes first, each stage waited for before the next is asked.
STAGES: tuple[frozenset[str], ...] = (
    frozenset({"GitRepository", "OCIRepository", "HelmRepository", "Bucket"}),
    frozenset({"HelmChart"}),
    frozenset({"Kustomization", "HelmRelease", "Application"}),
)

REFRESHED = Purpose("{objects} refreshed", "Does Argo CD's application controller run?", "is refreshed")
IDLE = Purpose(
    "the operation on {objects} that was there before end", "Argo CD does one operation at a time.", "is idle"
)
FETCHED = Purpose(
    "{objects} fetched", "Look at the source's conditions, correct the cause, and run it again.", "is fetched"
)
SYNCED = Purpose(
    "{objects} synced and healthy", "What is named is not there yet. Run it again to go on waiting.", "is synced"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """``refresh``: ``never``, ``normal`` or ``hard``. ``token`` marks the requests of this run."""

    state: str
    refresh: str
    token: str
    wait: bool


@dataclasses.dataclass(frozen=True)
class Step:
    """What is asked of one object. ``what``: ``refresh``, ``sync``, both, ``reconcile``, ``suspend`` or ``resume``."""

    asked: Asked
    what: tuple[str, ...]

    @property
    def stage(self) -> int:
        return next(number for number, kinds in enumerate(STAGES) if self.asked.kind in kinds)


def sources(live: Object) -> list[Asked]:
    """Those that can be reconciled: an ExternalArtifact is somebody else's, and what comes with a newer Flux is not known here."""
    return [Asked(*one) for one in gitops_flux.sources_of(live) if one[0] in GROUPS and one[2]]


class Gitops:
    """The objects of a task."""

    def __init__(self, client: Client, objects: list[Asked], options: Options) -> None:
        self.client = client
        self.objects = objects
        self.options = options
        self.resources: dict[str, Resource] = {}
        #: What is there, by identity; also of sources.
        self.live: dict[str, Object] = {}
        #: Identities of what was changed, and of what has a request with our token.
        self.made: set[str] = set()
        self.told: set[str] = set()

    @property
    def _refreshes(self) -> bool:
        return self.options.refresh != "never"

    # -- read --------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """The objects and, where it matters, their sources. Raises NotFound for what is not there."""
        self._read(self.objects)
        missing = [one.label for one in self.objects if one.identity not in self.live]
        if missing:
            raise NotFound(f"find {', '.join(missing)}", of=self.client.of, hint="Nothing was changed. Apply it first.")
        self._read(self._chain(), lenient=True)

    def _chain(self) -> list[Asked]:
        """The sources that the plan has to know: the next one of each Kustomization, and with ``with_source`` all."""
        if self.options.state != "synced":
            return []
        found: dict[str, Asked] = {}
        todo = [one for one in self.objects if one.kind == "Kustomization" or one.with_source]
        for asked in todo:
            for source in sources(self.live[asked.identity]):
                found.setdefault(source.identity, source)
        return [one for one in found.values() if one.identity not in self.live]

    def _read(self, objects: t.Sequence[Asked], *, lenient: bool = False) -> None:
        for one in objects:
            if one.kind not in self.resources:
                resource = self._resource(one)
                if resource is None and not lenient:
                    system = "Argo CD" if one.of_argo else "Flux"
                    answer = f"the server has no kind {one.kind} of {one.group}"
                    raise NotFound(
                        f"find {one.label}", of=self.client.of, answer=answer, hint=f"Is {system} installed?"
                    )
                if resource is not None:
                    self.resources[one.kind] = resource
        served = [one for one in objects if one.kind in self.resources]
        for one, live in zip(served, together(self._get, served), strict=True):
            if live is not None:
                self.live[one.identity] = live

    def _resource(self, one: Asked) -> Resource | None:
        versions = self.client.discovery.versions(one.group, one.kind)
        return self.client.resource(versions[0], one.kind) if versions else None

    def _get(self, one: Asked) -> Object | None:
        return self.client.get(self.resources[one.kind], one.namespace, one.name)

    # -- plan --------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What is to be asked for. The server has judged each of the patches in a dry run."""
        self.read()
        steps: dict[str, Change] = {}
        named = {one.identity for one in self.objects}
        for asked in self.objects:
            for change in self._steps(asked):
                # A source that is named itself may be asked for more than one that comes with something else.
                if change.resource == asked.identity or change.resource not in named:
                    steps.setdefault(change.resource, change)
        ordered = sorted(steps.values(), key=lambda change: int(change.operation.stage))
        together(self._dry_run, ordered)
        return Plan.of(ordered)

    def _steps(self, asked: Asked) -> list[Change]:
        live = self.live[asked.identity]
        if asked.of_argo:
            gitops_argo.refuse(live, asked, refreshes=self._refreshes and self.options.wait)
            return self._argo(asked, live)
        if self.options.state != "synced":
            return self._switch(asked, live)
        return self._flux(asked, live)

    def _argo(self, asked: Asked, live: Object) -> list[Change]:
        refresh, why = self._refreshes, gitops_argo.needs_sync(live, asked, anew=self._refreshes)
        if not refresh and not why:
            return []
        after: dict[str, t.Any] = {"refresh": self.options.refresh} if refresh else {}
        if why:
            after["sync"] = gitops_argo.shown_sync(live, asked)
        wait = gitops_argo.busy(live)
        notes = [why, "and is synced if it then differs" if refresh and not why else "", wait and f"waits: {wait}"]
        what = (("refresh",) if refresh else ()) + (("sync",) if why or self.options.wait else ())
        before = {
            key: value for key, value in gitops_argo.standing(live).items() if key in ("revision", "sync", "health")
        }
        return [Change(asked.identity, "update", before, after, "; ".join(filter(None, notes)), Step(asked, what))]

    def _switch(self, asked: Asked, live: Object) -> list[Change]:
        wanted = self.options.state == "suspended"
        if gitops_flux.suspended(live) is wanted:
            return []
        step = Step(asked, ("suspend" if wanted else "resume",))
        sides = ({"spec.suspend": not wanted}, {"spec.suspend": wanted})
        return [Change(asked.identity, "update", *sides, operation=step)]

    def _flux(self, asked: Asked, live: Object) -> list[Change]:
        self._must_run(asked, live)
        found = [one for one in sources(live) if one.identity in self.live]
        why = gitops_flux.not_current(live, self.live[found[-1].identity] if found else None, asked)
        wanted = why or self._refreshes or asked.with_source or asked.force or asked.reset
        if not wanted:
            return []
        changes = []
        for source in found if asked.with_source else []:
            there = self.live[source.identity]
            self._must_run(source, there)
            if not gitops_flux.static(there):
                changes.append(self._request(source, there, ""))
        if gitops_flux.static(live):
            return changes
        return [*changes, self._request(asked, live, why)]

    def _request(self, asked: Asked, live: Object, why: str) -> Change:
        revision = gitops_flux.revision_of(live)
        before = {"revision": revision} if revision else {}
        after = gitops_flux.shown_request(asked)
        return Change(asked.identity, "update", before, after, why, Step(asked, ("reconcile",)))

    def _must_run(self, asked: Asked, live: Object) -> None:
        if gitops_flux.suspended(live):
            raise InvalidInput(
                f"{asked.label} is suspended, so Flux would not hear", hint="Run it with state resumed first."
            )
        if live["metadata"].get("deletionTimestamp"):
            raise InvalidInput(f"{asked.label} is being deleted")

    def _dry_run(self, change: Change) -> None:
        step: Step = change.operation
        patch = self._patches(step, self.live[step.asked.identity])[0]
        patch = {**patch, "metadata": {k: v for k, v in patch.get("metadata", {}).items() if k != "resourceVersion"}}
        self._merge(step.asked, patch, dry_run=True)

    def _patches(self, step: Step, live: Object) -> list[Object]:
        made: dict[str, t.Callable[[], Object]] = {
            "refresh": lambda: gitops_argo.refresh_patch(self.options.refresh),
            "sync": lambda: gitops_argo.sync_patch(live, step.asked, self.options.token),
            "reconcile": lambda: gitops_flux.reconcile_patch(step.asked, self.options.token),
            "suspend": lambda: gitops_flux.suspend_patch(True),
            "resume": lambda: gitops_flux.suspend_patch(False),
        }
        return [made[what]() for what in step.what]

    def _merge(self, one: Asked, patch: Object, *, dry_run: bool = False) -> Object:
        return self.client.merge(self.resources[one.kind], one.namespace, one.name, patch, dry_run=dry_run)

    # -- apply -------------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, deadline: Deadline) -> None:
        """Ask stage by stage, and wait as far as that is wanted. Errors carry what was asked before them."""
        last = len(STAGES) - 1
        try:
            for stage in range(len(STAGES)):
                changes = [change for change in plan if change.operation.stage == stage]
                self._refresh(changes, deadline)
                together(lambda change: self._ask(change, deadline), changes)
                if self.options.wait and stage != last:
                    self._wait([self._want(one.operation.asked) for one in changes], deadline, FETCHED)
            if self.options.wait and self.options.state != "suspended":
                self._wait([self._want(asked) for asked in self.objects if not self._is_there(asked)], deadline, SYNCED)
        except HomelabError as error:
            error.made = self.done(plan).as_result()
            raise

    def done(self, plan: Plan) -> Plan:
        """Those of the changes that were made: an Application that turned out to be synced needs no sync."""
        return Plan.of(change for change in plan if change.resource in self.made)

    def _refresh(self, changes: list[Change], deadline: Deadline) -> None:
        refreshed = [change.operation.asked for change in changes if "refresh" in change.operation.what]
        for one in refreshed:
            self._merge(one, gitops_argo.refresh_patch(self.options.refresh))
            self.made.add(one.identity)
        if self.options.wait:
            self._wait([self._plain(one, gitops_argo.refreshed) for one in refreshed], deadline, REFRESHED)

    def _ask(self, change: Change, deadline: Deadline) -> None:
        """What is left of a change once it is refreshed."""
        step: Step = change.operation
        if "sync" in step.what:
            if not self._sync(step.asked, deadline):
                return
        elif "refresh" in step.what:
            return
        else:
            self._merge(step.asked, self._patches(step, self.live[step.asked.identity])[0])
        self.made.add(change.resource)
        if step.what[-1] in ("sync", "reconcile"):
            self.told.add(change.resource)

    def _sync(self, asked: Asked, deadline: Deadline) -> bool:
        """Ask for a sync if it is still needed once nothing else is under way."""
        for attempt in range(1, ATTEMPTS + 1):
            live = self._get(asked)
            if live is None:
                raise NotFound(f"sync {asked.label}", of=self.client.of, hint="It was deleted meanwhile.")
            if gitops_argo.busy(live):
                self._wait([self._plain(asked, gitops_argo.idle)], deadline, IDLE)
                continue
            gitops_argo.refuse(live, asked)
            if not gitops_argo.needs_sync(live, asked, anew=self._refreshes):
                return False
            try:
                self._merge(asked, gitops_argo.sync_patch(live, asked, self.options.token))
                return True
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
        raise Conflict(
            f"sync {asked.label}", of=self.client.of, answer="others sync it again and again", hint="Run it again."
        )

    # -- wait --------------------------------------------------------------------------------------------------------

    def _plain(self, one: Asked, check: t.Callable[[Object], str]) -> Want:
        resource = self.resources[one.kind]
        return Want(one.kind, resource.api_version, one.namespace, one.name, checks=(check,), resource=resource)

    def _want(self, one: Asked) -> Want:
        token = self.options.token if one.identity in self.told else ""
        of = gitops_argo.is_synced if one.of_argo else gitops_flux.is_reconciled
        return self._plain(one, of(one, token))

    def _is_there(self, one: Asked) -> bool:
        """Whether what was read says so already, of an object that nothing was asked of."""
        if one.identity in self.made:
            return False
        try:
            return not self._want(one).checks[0](self.live[one.identity])
        except Failure:
            return False

    def _wait(self, wants: list[Want], deadline: Deadline, purpose: Purpose) -> None:
        if not wants:
            return
        try:
            for outcome in readiness.wait(self.client, wants, deadline, purpose):
                for live in outcome.objects:
                    self.live[outcome.want.identity] = live
        except (TaskFailed, WaitTimeout) as error:
            raise explained(self.client, error, self.live) from None

    # -- tell --------------------------------------------------------------------------------------------------------

    def stand(self) -> list[dict[str, t.Any]]:
        """How the objects stand, as they were last seen."""
        found = []
        for one in self.objects:
            of = gitops_argo.standing if one.of_argo else gitops_flux.standing
            found.append({"resource": one.identity, **of(self.live[one.identity])})
        return found
