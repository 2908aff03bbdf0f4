# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What applying one object would change: the server's dry run is the judge, wherever it can be."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AccessDenied, Conflict, NotFound, Refused
from ..plan import Change
from . import definitions, fields, grants, kinds, shown, takeover
from .answers import FieldConflict, NotInstalled, UnknownKind
from .client import Client
from .discovery import KNOWN
from .items import Item, Options, defines, overlay
from .untried import Untried

Object = dict[str, t.Any]

OWNERSHIP = "only the record of who manages these fields"
REPLACED = "after the one that is being deleted is gone"
NEW_VERSION = "in an apiVersion that is not served yet"
TAKEN = "taken over from {}"
#: How often a take-over looks again when somebody changed the object meanwhile.
TURNS = 5


@dataclasses.dataclass
class Judge:
    """``items`` is the whole set. ``warn`` hears what was taken for granted. ``redefined``: the kinds whose definitions this
    very plan changes; :meth:`judge` of definitions adds to it."""

    client: Client
    options: Options
    items: t.Sequence[Item]
    warn: t.Callable[[str], None]

    def __post_init__(self) -> None:
        self.redefined: set[tuple[str, str]] = set()
        #: What the server has warned of, by object.
        self.heard: set[tuple[str, str]] = set()
        #: Why it could not try something.
        self.unanswered: set[str] = set()
        self.untried = Untried(self.client, self.items, self.warn)
        self.spaces = {item.name: item for item in self.items if item.wanted["kind"] == "Namespace"}
        self.definitions = {kind: item for item in self.items for kind in defines(item.wanted)}

    def unread(self, item: Item, error: AccessDenied) -> None:
        """We may not look at it: an error, unless the right to comes with an earlier object of the same set."""
        self.untried.expect(item, error, "get")

    def judge(self, item: Item) -> Change | None:
        """The change, or nothing. Raises what the server says against it."""
        try:
            change = self._judge(item)
        except AccessDenied as error:
            change = self._promised(item, error)
        if change is not None:
            self.redefined.update(defines(item.wanted))
        return change

    def _judge(self, item: Item) -> Change | None:
        if item.live is None or self.is_going(item):
            self._try_create(item)
            note = "" if item.live is None else REPLACED
            return Change(item.label, "create", after=shown.whole(item.wanted), note=note, operation=item)
        if item.predicted:
            before, after = shown.differing(item.live, overlay(item.live, item.wanted))
            return Change(item.label, "update", before, after, NEW_VERSION, operation=item)
        if defines(item.wanted) and self._is_newer(item):
            return None
        item.taken = bool(takeover.records(item.live, self.options.take_over))
        if not item.taken and self._is_settled(item.wanted, item.live):
            return None
        return self._update(item, item.live)

    def _promised(self, item: Item, error: AccessDenied) -> Change:
        """What the server will only judge after an earlier object of this run. Raises the error if nothing promises that."""
        if item.live is None:
            note = self.untried.expect(item, error, "create", "patch")
            return Change(item.label, "create", after=shown.whole(item.wanted), note=note, operation=item)
        note = self.untried.expect(item, error, "patch")
        before, after = shown.differing(item.live, overlay(item.live, item.wanted))
        return Change(item.label, "update", before, after, note, operation=item)

    def _is_settled(self, wanted: Object, live: Object) -> bool:
        if fields.settled(wanted, live, self.options.manager):
            return True
        return not self.options.adopt and fields.holds(wanted, live)

    def _is_newer(self, item: Item) -> bool:
        """Whether a definition that is there is to be left alone. Raises Refused if that is not what is asked for."""
        why = definitions.downgrade(item.live or {}, item.wanted)
        if not why:
            return False
        if not self.options.keep_newer:
            hint = (
                "Apply manifests of a release that is not older, or leave the newer definitions with downgrade: keep."
            )
            raise Refused(f"downgrade {item.label}", of=self.client.of, answer=why, hint=hint)
        self.warn(f"{item.label} is left as it is: {why}.")
        return True

    def _update(self, item: Item, live: Object) -> Change | None:
        try:
            live, result = self._tried(item, live)
        except (Refused, NotInstalled) as error:
            redefined = (item.wanted["apiVersion"], item.wanted["kind"]) in self.redefined
            if isinstance(error, NotInstalled):
                self._not_tried(item, error)
            elif not redefined:
                raise
            # Judged by a schema, or a webhook, that this very run replaces: say what is plain.
            result = overlay(live, item.wanted)
        before, after = shown.differing(live, result)
        notes = [self._taken_from(live)] if item.taken else []
        if defines(item.wanted):
            notes.append(definitions.losses(live, item.wanted))
        if not before and not after:
            if not item.taken and _record(live, self.options.manager) == _record(result, self.options.manager):
                return None
            notes.append(OWNERSHIP)
        return Change(item.label, "update", before, after, "; ".join(filter(None, notes)), operation=item)

    def _taken_from(self, live: Object) -> str:
        found = takeover.records(live, self.options.take_over)
        return TAKEN.format(", ".join(sorted({str(entry["manager"]) for entry in found})))

    def _tried(self, item: Item, live: Object) -> tuple[Object, Object]:
        """The object as it is, and as applying would make it."""
        if not item.taken:
            return live, self.apply(item, dry_run=True)
        for _turn in range(TURNS - 1):
            try:
                return live, self._tried_taking(item, live)
            except FieldConflict:
                raise
            except Conflict:
                # Its controller has written to it between two of these requests.
                live = self.client.get(item.served, item.namespace, item.name) or live
        return live, self._tried_taking(item, live)

    def _tried_taking(self, item: Item, live: Object) -> Object:
        try:
            result = self.apply(item, dry_run=True)
        except FieldConflict as error:
            if not set(error.details["managers"]) <= self.options.take_over:
                raise
            result = self.apply(item, dry_run=True, force=True)
        going = takeover.leftovers(live, result, self.options.manager, self.options.take_over)
        if not going:
            return result
        rest = takeover.without(result, going)
        try:
            # The server's defaults come back where a field of theirs goes.
            return self.client.replace(item.served, rest, dry_run=True)
        except AccessDenied:
            return rest

    def apply(self, item: Item, *, dry_run: bool, force: bool = False) -> Object:
        options = self.options
        force = force or options.force

        def warn(text: str) -> None:
            """What it warns of in a dry run is not said once more when it is done."""
            if (item.label, text) not in self.heard:
                self.heard.add((item.label, text))
                self.warn(f"The server warns of {item.label}: {text}")

        return self.client.apply(item.served, item.wanted, options.manager, force=force, dry_run=dry_run, warn=warn)

    def take(self, item: Item) -> None:
        """Make the other managers' records ours."""
        resource, live = item.served, item.live
        for turn in range(TURNS):
            if turn:
                live = self.client.get(resource, item.namespace, item.name)
            if live is None or not takeover.records(live, self.options.take_over):
                return
            steps = takeover.operations(live, self.options.manager, self.options.take_over)
            try:
                self.client.patch(resource, item.namespace, item.name, steps)
            except Conflict:
                if turn == TURNS - 1:
                    raise
            else:
                return

    # -- what is not there yet ---------------------------------------------------------------------------------------

    def _try_create(self, item: Item) -> None:
        """Let the server check what does not exist yet, unless what it needs does not exist yet either."""
        if item.resource is None:
            return
        if item.predicted or self.is_going(item) or self.makes_space(item.namespace):
            self.untried.leave(item.resource, item.namespace, item)
            return
        try:
            self.apply(item, dry_run=True)
        except NotInstalled as error:
            self._not_tried(item, error)
        except Refused as error:
            if not self._is_to_come(item, error.answer):
                raise
            self.untried.leave(item.resource, item.namespace, item)
        except UnknownKind as error:
            self.unserved(item, error)
        except NotFound as error:
            if f'namespaces "{item.namespace}" not found' in error.answer:
                self._missing_namespace(item, error)
            else:
                self._missing_role(item, error)

    def _not_tried(self, item: Item, error: NotInstalled) -> None:
        """A run waits for what is missing, such as a webhook's pods; check mode cannot."""
        if self.options.predict and error.answer not in self.unanswered:
            self.unanswered.add(error.answer)
            self.warn(f"{item.label} could not be tried, a run would wait until it can: {error.answer}.")

    def _is_to_come(self, item: Item, answer: str) -> bool:
        """Whether the server misses what this very plan makes before, such as the PriorityClass of a Pod."""
        makes = [one for one in self.items if one.live is None and one.place < item.place]
        said = answer.replace('"', "")
        return any(one.wanted["kind"] in said and f" {one.name} " in f"{said} " for one in makes)

    def is_going(self, item: Item) -> bool:
        """Whether it is being deleted, or its namespace or its kind is, which this very plan makes anew: it goes with them,
        and nothing new can be made in them until then."""
        space = self.spaces.get(item.namespace)
        definition = self.definitions.get((item.wanted["apiVersion"], item.wanted["kind"]))
        return any(one is not None and one.terminating for one in (item, space, definition))

    def makes_space(self, namespace: str) -> bool:
        """Whether this very plan makes the namespace."""
        space = self.spaces.get(namespace)
        return space is not None and (space.live is None or space.terminating)

    def _missing_namespace(self, item: Item, error: NotFound) -> None:
        if not self.options.predict:
            error.hint = f"Define the Namespace {item.namespace} in the same task, or apply it first."
            raise NotFound(error.asked, of=error.of, answer=error.answer, hint=error.hint, **error.details)
        self.warn(f"The namespace {item.namespace} does not exist yet; taken as made by an earlier task.")

    def _missing_role(self, item: Item, error: NotFound) -> None:
        """Who may not bind any role can only bind one that is there; the server then says that the binding is not."""
        role = self.untried.grants.role_of(item)
        if role is not None and role.live is None:
            self.untried.leave(item.served, item.namespace, item)
            return
        if item.wanted["kind"] in grants.BINDINGS:
            error.hint = "Is the role there that it names? Only who may bind any role can bind one that is not."
            raise NotFound(error.asked, of=error.of, answer=error.answer, hint=error.hint, **error.details)
        raise error

    def unserved(self, item: Item, _error: UnknownKind | None = None) -> None:
        """The server does not serve the kind: an error, unless this run or, in check mode, an earlier task brings it."""
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        if any((api_version, kind) in defines(one.wanted) for one in self.items):
            item.predicted = True
            self._older_form(item)
            return
        if not self.options.predict or kinds.is_built_in(api_version):
            raise self.no_such_kind(item)
        item.predicted = True
        self.warn(f"{self.client.of} has no kind {kind} of {api_version} yet; taken as made by an earlier task.")

    def _older_form(self, item: Item) -> None:
        """The object may be there in a version of its kind that is served already."""
        if item.resource is None:
            return
        group, kind = kinds.group_of(item.wanted["apiVersion"]), item.wanted["kind"]
        for api_version in self.client.discovery.versions(group, kind)[:1]:
            other = dataclasses.replace(item.resource, api_version=api_version)
            live = self.client.get(other, item.namespace, item.name)
            item.live = {**live, "apiVersion": item.wanted["apiVersion"]} if live else None

    def no_such_kind(self, item: Item) -> NotFound:
        api_version, kind = item.wanted["apiVersion"], item.wanted["kind"]
        others = self.client.kinds(api_version)
        if kind in others:
            answer = f"{api_version} has {kind}, but not as objects that are kept"
            return NotFound(f"apply {item.label}", of=self.client.of, answer=answer)
        answer = f"{api_version} has {', '.join(others)}" if others else f"the server does not serve {api_version}"
        hint = "Correct apiVersion and kind, or apply the CustomResourceDefinition that brings it first."
        own = [version for version, name in KNOWN if name == kind]
        if own and kinds.is_built_in(api_version):
            hint = f"{kind} is in {' and '.join(own)}: correct apiVersion."
        return NotFound(f"find the kind {kind} of {item.label}", of=self.client.of, answer=answer, hint=hint)


def _record(live: Object, manager: str) -> t.Any:
    return fields.owned_fields(live, manager, str(live.get("apiVersion")))
