# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of firewalls, made: before each write to a list of rules the list is what the plan thinks it is."""

from __future__ import annotations

import typing as t

from ...errors import Conflict, Refused
from ...plan import Change, Plan
from ..api.attempts import one_change
from ..api.lanes import side_by_side
from ..api.session import Session, listing, segment
from .firewall_plan import GONE, OFF, Operation
from .firewall_rules import Edit, Insert, Move, Rule, Step, after, of_api
from .firewall_spec import Alias, Group, IpSet
from .firewall_state import DATACENTER


class Applier:
    """One phase after the other; in a phase the firewalls side by side, each of them serially."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def apply(self, plan: Plan) -> None:
        made: list[Change] = []
        for phase in range(OFF, GONE + 1):
            changes = [change for change in plan if change.operation.phase == phase]
            try:
                made += side_by_side(changes, lambda change: str(change.operation.place.path), self._one)
            except Exception as error:
                if hasattr(error, "made"):
                    error.made = [change.as_result() for change in made] + error.made
                raise

    def _one(self, change: Change) -> None:
        self.session.progress(f"{change.action} {change.resource}")
        with one_change(self.session):
            self._apply(change.operation)

    def _apply(self, operation: Operation) -> None:
        makers: dict[str, t.Callable[[Operation], None]] = {
            "options": self._options,
            "rules": self._rules,
            "alias": self._alias,
            "ipset": self._ipset,
            "group": self._group,
        }
        try:
            makers[operation.what](operation)
        except Refused as error:
            if "already exists" in error.answer:
                raise Conflict(error.asked, of=error.of, answer=error.answer, hint="Run the task again.") from error
            raise

    def _options(self, operation: Operation) -> None:
        send = {name: value for name, value in operation.to.items() if value is not None}
        gone = [name for name, value in operation.to.items() if value is None]
        form = {**send, **({"delete": ",".join(gone)} if gone else {}), "digest": operation.digest}
        asked = f"set the options of the firewall of {operation.firewall.name}"
        self.session.put(f"{operation.place.path}/options", form, asked=asked)

    # -- rules -----------------------------------------------------------------------------------------------------

    def _rules(self, operation: Operation) -> None:
        about = f"the rules of the firewall of {operation.firewall.name}"
        self._steps(f"{operation.place.path}/rules", operation.was, operation.steps, about)

    def _steps(self, path: str, was: t.Sequence[Rule], steps: t.Iterable[Step], about: str) -> None:
        """Positions mean something only in the list that they were found in, so each write is guarded by its digest."""
        rules = list(was)
        for step in steps:
            found = listing(self.session, path, "pos", asked=f"read {about}")
            listed = sorted(found, key=lambda entry: int(entry["pos"]))
            if [of_api(entry) for entry in listed] != rules:
                answer = "somebody else has changed them meanwhile"
                raise Conflict(f"change {about}", of=self.session.of, answer=answer)
            digest = {"digest": listed[0]["digest"]} if listed else {}
            self._step(path, step, digest, f"change {about}")
            rules = after(step, rules)

    def _step(self, path: str, step: Step, digest: t.Mapping[str, str], asked: str) -> None:
        if isinstance(step, Insert):
            self.session.post(path, {**step.rule, **digest}, asked=asked)
        elif isinstance(step, Move):
            self.session.put(f"{path}/{step.pos}", {"moveto": step.to, **digest}, asked=asked)
        elif isinstance(step, Edit):
            gone = {"delete": ",".join(step.delete)} if step.delete else {}
            self.session.put(f"{path}/{step.pos}", {**step.send, **gone, **digest}, asked=asked)
        else:
            self.session.delete(f"{path}/{step.pos}", dict(digest), asked=asked)

    # -- names -----------------------------------------------------------------------------------------------------

    def _alias(self, operation: Operation) -> None:
        path, asked = f"{operation.place.path}/aliases", _asked(operation, "alias")
        to: Alias | None = operation.to
        if to is None:
            self.session.delete(f"{path}/{segment(operation.name)}", asked=asked)
        elif operation.was is None:
            self.session.post(path, {"name": to.name, "cidr": to.cidr, **_comment(to.comment)}, asked=asked)
        else:
            form = {"cidr": to.cidr, "comment": to.comment}
            self.session.put(f"{path}/{segment(operation.name)}", form, asked=asked)

    def _ipset(self, operation: Operation) -> None:
        path, asked = f"{operation.place.path}/ipset", _asked(operation, "IP set")
        one, was, to = f"{path}/{segment(operation.name)}", operation.was, operation.to
        if to is None:
            self.session.delete(one, {"force": 1}, asked=asked)
            return
        if was is None:
            self.session.post(path, {"name": to.name, **_comment(to.comment)}, asked=asked)
        elif was.comment != to.comment:
            # The API changes a comment only together with a new name, which may be the old one.
            self.session.post(path, {"name": to.name, "rename": to.name, "comment": to.comment}, asked=asked)
        self._entries(one, was, to, asked)

    def _entries(self, path: str, was: IpSet | None, to: IpSet, asked: str) -> None:
        """New members first: a set that is read in between has too many rather than too few."""
        there, wanted = (was.entries or {}) if was else {}, to.entries or {}
        for cidr, entry in wanted.items():
            form = {"comment": entry["comment"], "nomatch": entry["nomatch"]}
            if cidr not in there:
                self.session.post(
                    path, {"cidr": cidr, **_comment(entry["comment"]), "nomatch": entry["nomatch"]}, asked=asked
                )
            elif there[cidr] != entry:
                self.session.put(f"{path}/{_quoted(cidr)}", form, asked=asked)
        for cidr in there:
            if cidr not in wanted:
                self.session.delete(f"{path}/{_quoted(cidr)}", asked=asked)

    def _group(self, operation: Operation) -> None:
        path, asked = f"{DATACENTER}/groups", _asked(operation, "security group")
        one, was, to = f"{path}/{segment(operation.name)}", operation.was, operation.to
        if to is not None and was is None:
            self.session.post(path, {"group": to.name, **_comment(to.comment)}, asked=asked)
        elif to is not None and was.comment != to.comment:
            self.session.post(path, {"group": to.name, "rename": to.name, "comment": to.comment}, asked=asked)
        there: Group | None = was
        self._steps(one, (there.rules or ()) if there else (), operation.steps, f"the rules of {asked}")
        if to is None:
            self.session.delete(one, asked=asked)


def _asked(operation: Operation, word: str) -> str:
    verb = "delete" if operation.to is None else "create" if operation.was is None else "change"
    return f"{verb} the {word} {operation.name} of the firewall of {operation.firewall.name}"


def _comment(comment: str | None) -> dict[str, str]:
    return {"comment": comment} if comment else {}


def _quoted(cidr: str) -> str:
    return segment(cidr).replace("/", "%2F")
