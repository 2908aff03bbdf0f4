# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What M(groundwork.homelab.sops_file) does."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..plan import HIDDEN, Change, Plan, carry_out
from ..sops import age, age_keys, sops, sops_ini, sops_rules, sops_stores, sops_values
from ..sops.sops_values import Rules, Tree
from ..task import Result, Task
from . import files


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The file as it is to be: its values, for whom; and which of them are encrypted, which only a new file is told."""

    tree: Tree = dataclasses.field(repr=False)
    recipients: list[str]
    rules: Rules


def run(task: Task) -> Result:
    """Read the file, plan, write; or decrypt it into a file of the mode 0600."""
    path, identities = files.absolute(task.params["path"]), age_keys.age_identities(task)
    form = sops.format_of(path, task.params["format"])
    content = _content(task, form)
    file = sops.read(path, form, identities) if path.exists() else None
    if file:
        task.secret(*_texts(file.tree, file.metadata.rules))
    if task.params["state"] == "decrypted":
        return _decrypted(task, path, form, file)
    wanted = _wanted(task, path, content, file)
    plan = _plan(path, file, wanted)
    if plan and not task.check_mode:
        now = datetime.datetime.now(datetime.timezone.utc)
        if file:
            text = sops.changed(file, wanted.tree, wanted.recipients, now)
        else:
            text = sops.create(wanted.tree, form, wanted.recipients, wanted.rules, now)
        carry_out(plan, lambda _change: files.write_public(path, text))
    return task.result(plan, path=str(path), recipients=wanted.recipients)


def _content(task: Task, form: str) -> Tree:
    params = task.params
    content: Tree = params["content"] or {}
    if params["state"] == "decrypted" and (params["content"] is not None or params["remove"] or params["src"]):
        raise InvalidInput("state decrypted changes nothing in the file", hint="Leave out content, src and remove.")
    if form == "binary":
        return _whole(task, content)
    if params["src"]:
        raise InvalidInput(f"src is a whole file, and the format is {form}", hint="Set format to binary.")
    sops_values.check(content, "content")
    if "sops" in content:
        raise InvalidInput("content has the key sops, which is that of sops itself")
    for recipient in params["recipients"] or []:
        age.parse_recipient(recipient)
    for number, names in enumerate(params["remove"]):
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InvalidInput(f"remove[{number}] is not a list of keys, such as [database, password]")
    as_text = {"dotenv": sops_stores.as_text, "ini": sops_ini.as_text}.get(form)
    return as_text(content, "content") if as_text else content


def _whole(task: Task, content: Tree) -> Tree:
    """The one value of a file that is encrypted as a whole: the bytes of ``src``, or a text."""
    params = task.params
    for name in (*sops_values.RULES, "mac_only_encrypted", "remove"):
        if params[name]:
            raise InvalidInput(
                f"{name} is given, and a file of the format binary is a whole", hint=f"Leave out {name}."
            )
    if params["src"]:
        if content:
            raise InvalidInput("content and src are both given", hint="Leave one of them out.")
        data = private_files.read_bytes(files.absolute(params["src"]), "file to encrypt")
        text = data.decode("utf-8", "surrogateescape")
        task.secret(text if text.isprintable() else None)
        return {sops.WHOLE: text}
    if content and (set(content) != {sops.WHOLE} or not isinstance(content[sops.WHOLE], str)):
        raise InvalidInput(
            f"A file of the format binary holds one text, {sops.WHOLE}",
            hint="Give content with it, or src, or another format.",
        )
    sops_values.check(content, "content")
    return content


def _wanted(task: Task, path: pathlib.Path, content: Tree, file: sops.File | None) -> Wanted:
    params = task.params
    given = Rules(
        **{name: params[name] or "" for name in sops_values.RULES},
        mac_only_encrypted=bool(params["mac_only_encrypted"]),
    )
    if file:
        tree = content if params["exact"] else merged(file.tree, content)
        tree = sops.ordered(without(tree, params["remove"]), file.tree)
        _check_rules(params, file.metadata.rules, path)
        return Wanted(tree, params["recipients"] or file.metadata.recipients, file.metadata.rules)
    if params["content"] is None and not params["src"]:
        raise InvalidInput(f"There is no file of sops at {path}, and no content to make one of")
    recipients = params["recipients"]
    if recipients is None:
        rule = _rule(params, path)
        recipients, given = rule.recipients, given if given != Rules() else rule.rules
    if not recipients:
        raise InvalidInput("recipients is empty", hint="Nobody could read the file.")
    return Wanted(without(content, params["remove"]), list(dict.fromkeys(recipients)), given)


def _rule(params: dict[str, t.Any], path: pathlib.Path) -> sops_rules.Rule:
    config = files.absolute(params["config_file"]) if params["config_file"] else sops_rules.find(path)
    if config is None:
        raise InvalidInput(
            f"It is not said for whom {path} is to be encrypted, and there is no .sops.yaml above it",
            hint="Give recipients, or write a creation rule.",
        )
    return sops_rules.rule_for(path, config)


def _check_rules(params: dict[str, t.Any], there: Rules, path: pathlib.Path) -> None:
    """What is encrypted in a file that is there cannot be changed here: sops cannot either, but by hand."""
    for name in (*sops_values.RULES, "mac_only_encrypted"):
        if params[name] is not None and params[name] != getattr(there, name):
            raise InvalidInput(
                f"{path} was made with another {name}, which cannot be changed in place",
                hint=f"Leave out {name}, or remove the file to have it made anew.",
            )


def merged(there: Tree, content: Tree) -> Tree:
    """Mappings are merged, everything else is replaced."""
    found = dict(there)
    for name, value in content.items():
        old = found.get(name)
        found[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def without(tree: Tree, paths: t.Iterable[t.Sequence[str]]) -> Tree:
    """The same without what is to be removed; what is not there is removed already."""
    tree = copy.deepcopy(tree)
    for *above, last in paths:
        at: t.Any = tree
        for name in above:
            at = at.get(name) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at.pop(last, None)
    return tree


# -- the plan -------------------------------------------------------------------------------------------------------------


def _plan(path: pathlib.Path, file: sops.File | None, wanted: Wanted) -> Plan:
    """One change of one file; of its values the names only."""
    resource = f"sops/{path}"
    if file is None:
        made = {**dict.fromkeys(_names(wanted.tree), HIDDEN), "recipients": wanted.recipients}
        return Plan.of([Change(resource, "create", after=made)])
    before: Tree = {}
    after: Tree = {}
    old, new = _flat(file.tree), _flat(wanted.tree)
    for name in {**old, **new}:
        if name not in new or name not in old or not sops_values.same(old[name], new[name]):
            before.update({name: HIDDEN} if name in old else {})
            after.update({name: HIDDEN} if name in new else {})
    there = file.metadata.recipients
    if set(there) != set(wanted.recipients):
        before["recipients"], after["recipients"] = there, wanted.recipients
    return Plan.of([Change(resource, "update", before, after)] if before or after else [])


def _flat(tree: t.Any, name: str = "values") -> Tree:
    """Each value that is no mapping, by its names: ``values.database.password``."""
    if not isinstance(tree, dict) or not tree:
        return {name: tree}
    found: Tree = {}
    for key, value in tree.items():
        found |= _flat(value, f"{name}.{key}")
    return found


def _names(tree: Tree) -> list[str]:
    return list(_flat(tree)) if tree else []


def _texts(tree: Tree, rules: Rules) -> set[str]:
    """The encrypted values, which must not be shown; those of one or two letters are no secrets, but are everywhere."""
    texts = {
        sops_values.plain_bytes(value).decode("utf-8", "replace")
        for path, value in sops_values.leaves(tree)
        if rules.encrypted(path)
    }
    return {text for text in texts if len(text) > 2 and text not in {"True", "False"}}


# -- reading --------------------------------------------------------------------------------------------------------------


def _decrypted(task: Task, path: pathlib.Path, form: str, file: sops.File | None) -> Result:
    """Into another file, of the mode 0600: a result would be seen."""
    if file is None:
        raise InvalidInput(f"There is no file of sops at {path}")
    if not task.params["dest"]:
        raise InvalidInput(
            "state decrypted needs dest", hint="In a playbook, the lookup groundwork.homelab.sops gives values."
        )
    dest = files.absolute(task.params["dest"])
    if dest == path:
        raise InvalidInput("dest is the encrypted file itself")
    data = sops.plain_bytes(file, form)
    there = private_files.read_bytes(dest, "decrypted file") if dest.exists() else None
    open_to_others = there is not None and private_files.mode_of(dest) != "0600"
    changes = []
    if there != data or open_to_others:
        before = {"mode": private_files.mode_of(dest)} if open_to_others else {}
        after = {"content": HIDDEN} if there != data else {}
        action: t.Literal["create", "update"] = "create" if there is None else "update"
        changes.append(Change(f"decrypted/{dest}", action, before, {**after, "mode": "0600"}))
    plan = Plan.of(changes)
    if not task.check_mode:
        carry_out(plan, lambda _change: _write(dest, data))
    return task.result(plan, path=str(path), recipients=file.metadata.recipients)


def _write(dest: pathlib.Path, data: bytes) -> None:
    with private_files.streamed(dest) as file:
        file.write(data)
