# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named records behind list, create, update and delete calls: storages, mappings, users, groups, aliases and so on.

A :class:`Kind` describes one kind of record as data; a :class:`Wish` is what the user wants of one of them. The list is
read once, differences are planned without a network, each change is one request, and after a lost answer or a conflict
the list is read and planned again::

    GROUP = Kind(
        word="group",                       # resources are called group/<name>
        path="/access/groups",              # GET lists, POST creates; PUT and DELETE go to /access/groups/<name>
        key="groupid",                      # the parameter that holds the name
        fields=(Field("comment", TEXT),),
        deletes=False,                      # PUT has no delete=: an option is emptied by sending it empty
        digest=False,
        needs=lambda operation: [rights.Need(("/access/groups",), ("Group.Allocate",), str(operation))],
    )

    wishes = [Wish(GROUP, "ops", values={"comment": "Operators"}), Wish(GROUP, "old", present=False)]
    records = Records(session, wishes)
    plan = records.look_and_plan().plan     # reads /access/groups once, checks the rights, writes nothing
    if not task.check_mode:
        records.carry_out()                 # looks and plans again after a lost answer or a conflict
    return task.result(plan)

A value that a wish does not name stays as it is. An empty one (``""``, ``[]``, ``{}``) takes the option away, so that it
has its default again. Values are given and shown in the form of their field: text, bool, int, list, dict.
A module with more to plan than records uses the parts: :func:`read`, :func:`changes`, :class:`Writer`, and
:func:`attempts.carry_out`.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import Conflict, HomelabError, InvalidInput, NotFound, Refused
from ...plan import HIDDEN, Change, Plan, carry_out
from ..api import attempts, rights
from ..api import propertystring as ps
from ..api.lanes import together
from ..api.session import Session, listing, segment

Value = t.Any
#: Option -> value as the server lists it.
Raw = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Form:
    """How an option is compared, shown and sent. ``clean`` makes equal what means the same, from the server's spelling
    and from the user's; ``wire`` is what is sent for a clean value."""

    clean: t.Callable[[t.Any], Value]
    wire: t.Callable[[Value], t.Any] = str


def _words(raw: t.Any) -> list[str]:
    parts = raw if isinstance(raw, (list, tuple, set, frozenset)) else re.split(r"[,;\s]+", str(raw))
    return [str(part).strip() for part in parts if str(part).strip()]


def _flag(raw: t.Any) -> bool:
    return raw if isinstance(raw, bool) else ps.flag(str(raw)) == "1"


def _properties(raw: t.Any) -> dict[str, str]:
    found = raw if isinstance(raw, t.Mapping) else ps.parse(str(raw))
    return {str(key): str(value) for key, value in sorted(found.items())}


#: The files behind it are lines in which space at the ends means nothing.
TEXT = Form(lambda raw: str(raw).strip())
#: Space may be a part of it; a line feed at its end is that of the file that it came from.
SECRET = Form(lambda raw: str(raw).rstrip("\n"))
FLAG = Form(_flag, lambda value: "1" if value else "0")
NUMBER = Form(int)
#: Names whose order means nothing.
SET = Form(lambda raw: sorted(set(_words(raw))), ",".join)
#: Names in an order.
SEQUENCE = Form(_words, ",".join)
PROPERTIES = Form(_properties, ps.render)


@dataclasses.dataclass(frozen=True)
class Field:
    """An option of a kind of record. ``name`` is the API's.

    ``default`` is what its absence means (in the clean form); ``fixed`` fields can only be given at creation; a
    ``secret`` is never listed, so only creation and ``Wish.renew`` send it.
    """

    name: str
    form: Form = TEXT
    default: Value = None
    fixed: bool = False
    secret: bool = False
    #: What the module calls it, where that is not the API's name.
    option: str = ""

    @property
    def called(self) -> str:
        """The name that people see: in changes and messages."""
        return self.option or self.name

    def of(self, raw: Raw) -> Value:
        """The value of a listed record, its default where it has none."""
        found = raw.get(self.name)
        return self.clean("" if found is None else found)

    def clean(self, given: t.Any) -> Value:
        return self.default if is_empty(given) else self.form.clean(given)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of record. ``word`` begins the names of its resources, ``label`` is what messages call it."""

    word: str
    path: str
    key: str
    fields: tuple[Field, ...]
    label: str = ""
    #: Path of one record; ``{name}`` is replaced. Without it the name is sent as a parameter (pools).
    one: str = "{path}/{name}"
    query: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    #: Sent with every creation, never compared (a storage's type).
    given: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    #: PUT takes ``delete=``; otherwise an option is taken away by sending it empty.
    deletes: bool = True
    digest: bool = True
    #: Options that every PUT must carry (the map of a mapping).
    always: tuple[str, ...] = ()
    needs: t.Callable[[Operation], list[rights.Need]] = lambda _operation: []
    #: Text of a refusal (a pattern) -> what to try.
    hints: tuple[tuple[str, str], ...] = ()

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def path_of(self, name: str) -> str:
        return self.one.format(path=self.path, name=segment(name).replace("/", "%2F"))

    def says(self, name: str) -> str:
        return f"{self.label or self.word} {name}"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is wanted of one record: by the API's names, None is left out. ``renew`` sends the secrets again.

    ``required`` names options without which it cannot be created.
    """

    kind: Kind
    name: str
    present: bool = True
    values: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    renew: bool = False

    @property
    def resource(self) -> str:
        return f"{self.kind.word}/{self.name}"


Verb = t.Literal["create", "update", "delete"]


@dataclasses.dataclass(frozen=True)
class Operation:
    """One request. ``send`` is the form without name and digest; ``seen`` the listed record that it was planned on."""

    verb: Verb
    kind: Kind
    name: str
    send: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    delete: tuple[str, ...] = ()
    seen: Raw = dataclasses.field(default_factory=dict)
    #: All that was wished, for those who look at more than the request.
    wish: Wish | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.kind.says(self.name)}"


#: Name -> listed record.
Current = t.Mapping[str, Raw]


def is_empty(value: t.Any) -> bool:
    return value is None or value in ("", [], {}, ())


# -- read ------------------------------------------------------------------------------------------------------------


def read(session: Session, kind: Kind) -> dict[str, Raw]:
    """All records of a kind that may be seen, by name. One request."""
    found = listing(session, kind.path, kind.key, kind.query, asked=f"list what there is at {kind.path}")
    return {str(entry[kind.key]): entry for entry in found}


# -- plan (pure) -----------------------------------------------------------------------------------------------------


def changes(wishes: t.Iterable[Wish], current: Current) -> list[Change]:
    """Creations and updates in the order of the wishes, then deletions in the opposite order."""
    wishes = list(wishes)
    planned = [change(wish, current.get(wish.name)) for wish in wishes if wish.present]
    planned += [change(wish, current.get(wish.name)) for wish in reversed(wishes) if not wish.present]
    return [one for one in planned if one is not None]


def change(wish: Wish, raw: Raw | None) -> Change | None:
    """The change that one wish asks for; ``raw`` is None when there is no such record."""
    if not wish.present:
        return None if raw is None else _deletion(wish, raw)
    return _creation(wish) if raw is None else _update(wish, raw)


def shown(kind: Kind, raw: Raw) -> dict[str, Value]:
    """A listed record as people see it: what differs from the defaults."""
    found = [(field, field.of(raw)) for field in kind.fields if not field.secret]
    return {field.called: value for field, value in found if value != field.default}


def after(wish: Wish, raw: Raw | None) -> dict[str, t.Any] | None:
    """The listed record as it will be; None when it will not be there. Secrets are not listed."""
    if not wish.present:
        return None
    kept = dict(raw or {**wish.kind.given, wish.kind.key: wish.name})
    for field in wish.kind.fields:
        if field.secret or wish.values.get(field.name) is None:
            continue
        value = field.clean(wish.values[field.name])
        kept.pop(field.name, None)
        if value != field.default:
            kept[field.name] = field.form.wire(value)
    return kept


def _deletion(wish: Wish, raw: Raw) -> Change:
    operation = Operation("delete", wish.kind, wish.name, seen=raw, wish=wish)
    return Change(wish.resource, "delete", before=shown(wish.kind, raw), operation=operation)


def _creation(wish: Wish) -> Change:
    missing = [wish.kind.field(name).called for name in wish.required if is_empty(wish.values.get(name))]
    if missing:
        raise InvalidInput(
            f"{wish.kind.says(wish.name)} does not exist, and to create it {' and '.join(missing)} must be given"
        )
    send, show = dict(wish.kind.given), dict(wish.kind.given)
    for field in wish.kind.fields:
        given = wish.values.get(field.name)
        if is_empty(given):
            continue
        value = field.clean(given)
        show[field.called] = HIDDEN if field.secret else value
        send[field.name] = field.form.wire(value)
    return Change(
        wish.resource, "create", after=show, operation=Operation("create", wish.kind, wish.name, send, wish=wish)
    )


def _update(wish: Wish, raw: Raw) -> Change | None:
    before, new, send, delete = {}, {}, {}, []
    for field in wish.kind.fields:
        given = wish.values.get(field.name)
        if given is None or (field.secret and (not wish.renew or is_empty(given))):
            continue
        if field.secret:
            new[field.called], send[field.name] = HIDDEN, field.form.wire(field.clean(given))
            continue
        was, value = field.of(raw), field.clean(given)
        if was == value:
            continue
        if field.fixed:
            raise _cannot_change(wish, field, was, value)
        if not is_empty(was):
            before[field.called] = was
        if is_empty(given) and wish.kind.deletes:
            delete.append(field.name)
        else:
            send[field.name] = "" if is_empty(given) else field.form.wire(value)
        if not is_empty(value):
            new[field.called] = value
    if not send and not delete:
        return None
    send = {**_carried(wish, raw), **send}
    operation = Operation("update", wish.kind, wish.name, send, tuple(delete), raw, wish)
    return Change(wish.resource, "update", before, new, operation=operation)


def _carried(wish: Wish, raw: Raw) -> dict[str, t.Any]:
    """What every PUT needs, also when it does not change."""
    fields = [wish.kind.field(name) for name in wish.kind.always]
    return {field.name: field.form.wire(field.of(raw)) for field in fields if field.name in raw}


def _cannot_change(wish: Wish, field: Field, was: Value, value: Value) -> InvalidInput:
    return InvalidInput(
        f"{field.called} of {wish.kind.says(wish.name)} is {was!r} and cannot become {value!r}: it is fixed when the "
        f"{wish.kind.label or wish.kind.word} is created",
        hint="Give it the value that it has, or choose another name; or make it absent first, if nothing uses it.",
    )


def needs(plan: t.Iterable[Change]) -> list[rights.Need]:
    """The rights that the changes of records need."""
    operations = [change.operation for change in plan if isinstance(change.operation, Operation)]
    return [need for operation in operations for need in operation.kind.needs(operation)]


# -- write -----------------------------------------------------------------------------------------------------------


class Writer:
    """Makes changes of records, one request each. Records of one kind lie in one file: never two at a time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._written: set[str] = set()

    def apply(self, change: Change) -> None:
        operation: Operation = change.operation
        self.session.progress(str(operation))
        try:
            self._send(operation)
        except HomelabError as error:
            raise _explained(error, operation) from error
        finally:
            self._written.add(operation.kind.path)

    def _send(self, operation: Operation) -> None:
        kind, asked = operation.kind, str(operation)
        if operation.verb == "create":
            self.session.post(_target(kind, "POST", operation.name), _named(operation), asked=asked)
        elif operation.verb == "update":
            form = {**_named(operation, one=True), **self._digest(operation)}
            if operation.delete:
                form["delete"] = ",".join(operation.delete)
            self.session.put(_target(kind, "PUT", operation.name), form, asked=asked)
        else:
            try:
                self.session.delete(
                    _target(kind, "DELETE", operation.name), _name_only(kind, operation.name), asked=asked
                )
            except NotFound:
                return  # somebody else was faster

    def _digest(self, operation: Operation) -> dict[str, str]:
        """The digest of the whole file guards against others. It is new after every write, so the record is looked at
        again, and has to be what it was when it was planned."""
        if not operation.kind.digest:
            return {}
        seen = operation.seen
        if operation.kind.path in self._written:
            seen = read(self.session, operation.kind).get(operation.name, {})
            if not _same(operation.kind, seen, operation.seen):
                raise Conflict(str(operation), of=self.session.of, answer="somebody else has changed it meanwhile")
        return {"digest": str(seen["digest"])} if seen.get("digest") else {}


def _same(kind: Kind, one: Raw, other: Raw) -> bool:
    return all(field.of(one) == field.of(other) for field in kind.fields if not field.secret)


def _target(kind: Kind, method: str, name: str) -> str:
    """Without ``{name}`` in its path, a record is named by a parameter."""
    return kind.path if method == "POST" or "{name}" not in kind.one else kind.path_of(name)


def _name_only(kind: Kind, name: str) -> dict[str, t.Any]:
    return {} if "{name}" in kind.one else {kind.key: name}


def _named(operation: Operation, *, one: bool = False) -> dict[str, t.Any]:
    name = _name_only(operation.kind, operation.name) if one else {operation.kind.key: operation.name}
    return {**name, **operation.send}


def _explained(error: HomelabError, operation: Operation) -> HomelabError:
    """What became of the record meanwhile is a conflict; known refusals get a hint."""
    text = error.answer
    if operation.verb == "create" and re.search(r"already (exists|defined)", text):
        hint = "If it is not in the list, the right to see it is missing."
        return Conflict(error.asked, of=error.of, answer=text, hint=hint)
    if operation.verb == "update" and isinstance(error, NotFound):
        return Conflict(error.asked, of=error.of, answer=text, hint="Run the task again.")
    for pattern, hint in operation.kind.hints:
        if re.search(pattern, text):  # the server's own words about what is behind it, not about itself
            return Refused(error.asked, of=error.of, answer=text, hint=hint, **error.details)
    return error


# -- all of it -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Planned:
    plan: Plan


#: Looks at what else must be right before anything is written; raises :class:`errors.InvalidInput`.
Check = t.Callable[[Session, t.Sequence[Operation]], None]


class Records:
    """Wishes of one or more kinds, from the look to the last write."""

    def __init__(self, session: Session, wishes: t.Sequence[Wish], *, check: Check | None = None) -> None:
        refuse_twice(wishes)
        self.session = session
        self.wishes = wishes
        self.check = check
        self.planned = Planned(Plan())
        #: Path of a list -> what was in it.
        self.current: dict[str, dict[str, Raw]] = {}

    def look_and_plan(self) -> Planned:
        kinds = {wish.kind.path: wish.kind for wish in self.wishes}
        lists = together(lambda kind: read(self.session, kind), list(kinds.values()))
        self.current = dict(zip(kinds, lists, strict=True))
        self.refuse(self.current)
        made: list[Change] = []
        for path in kinds:
            there = self.current[path]
            wishes = [self.final(wish, there.get(wish.name)) for wish in self.wishes if wish.kind.path == path]
            made += changes(wishes, there)
        self.planned = Planned(Plan.of(made))
        if made:
            rights.check(rights.read(self.session), needs(made), asked=", ".join(str(one.operation) for one in made))
            if self.check:
                self.check(self.session, [one.operation for one in made])
        return self.planned

    def refuse(self, current: t.Mapping[str, Current]) -> None:
        """For what a kind cannot become: raises :class:`errors.InvalidInput`."""

    def final(self, wish: Wish, raw: Raw | None) -> Wish:
        """A wish in the light of what is there (entries of a list that are to stay)."""
        return wish

    def carry_out(self) -> Plan:
        """What was done, which is not what was planned if the plan had to be made again."""
        writer = Writer(self.session)
        return attempts.carry_out(self, lambda plan: carry_out(plan, writer.apply), self.planned).done


def refuse_twice(wishes: t.Iterable[Wish]) -> None:
    """Two wishes for one record contradict each other, or one is forgotten."""
    seen: set[str] = set()
    for wish in wishes:
        if wish.resource in seen:
            raise InvalidInput(
                f"{wish.kind.says(wish.name)} is named twice", hint="Put what you want of it into one entry."
            )
        seen.add(wish.resource)
