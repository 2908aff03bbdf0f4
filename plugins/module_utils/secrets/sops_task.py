# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What M(groundwork.homelab.sops_file) does."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import itertools
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..plan import COMPUTED, HIDDEN, Change, Plan, carry_out
from ..sops import age, age_keys, sops, sops_ini, sops_rules, sops_stores, sops_values, sops_yaml
from ..sops.sops import Content
from ..sops.sops_values import Rules, Tree
from ..task import Result, Task
from . import files


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The file as it is to be: its values, for whom; and which of them are encrypted, which only a new file is told."""

    tree: Content = dataclasses.field(repr=False)
    recipients: list[str]
    rules: Rules
    rotated: bool = False


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
            text = sops.changed(file, wanted.tree, wanted.recipients, now, rotated=wanted.rotated)
        else:
            text = sops.create(wanted.tree, form, wanted.recipients, wanted.rules, now)
        carry_out(plan, lambda _change: files.write_public(path, text))
    return task.result(plan, path=str(path), recipients=wanted.recipients)


def _content(task: Task, form: str) -> list[Tree]:
    """The wanted values, for each document its own. Raises InvalidInput."""
    params = task.params
    if params["state"] == "decrypted" and any(
        params[name] not in (None, [], "never") for name in ("content", "documents", "remove", "src", "rotate")
    ):
        raise InvalidInput(
            "state decrypted changes nothing in the file", hint="Leave out content, documents, src, remove and rotate."
        )
    if params["exact"] and params["content"] is None and params["documents"] is None and not params["src"]:
        raise InvalidInput("exact is given without content, which would remove all values", hint="Give content.")
    if params["documents"] is not None and form != "yaml":
        raise InvalidInput(f"The format is {form}, and only YAML has several documents", hint="Give content.")
    if form == "binary":
        return [_whole(task, params["content"] or {})]
    if params["src"]:
        raise InvalidInput(f"src is a whole file, and the format is {form}", hint="Set format to binary.")
    found = _checked(params, form)
    for recipient in params["recipients"] or []:
        age.parse_recipient(recipient)
    for number, names in enumerate(params["remove"]):
        keys = names[1:] if isinstance(names, list) and names and _is_number(names[0]) else names
        if not isinstance(keys, list) or not keys or not all(isinstance(name, str) for name in keys):
            raise InvalidInput(f"remove[{number}] is not a list of keys, such as [database, password]")
    as_text = {"dotenv": sops_stores.as_text, "ini": sops_ini.as_text}.get(form)
    return [as_text(one, "content") for one in found] if as_text else found


def _is_number(name: t.Any) -> bool:
    """Of a document, as the first of the keys of what is in it."""
    return isinstance(name, int) and not isinstance(name, bool)


def _checked(params: dict[str, t.Any], form: str) -> list[Tree]:
    if params["documents"] is None:
        found = {"content": params["content"] or {}}
    else:
        found = {f"documents[{number}]": one for number, one in enumerate(params["documents"])}
    if not found:
        raise InvalidInput("documents is empty", hint="A file has at least one, be it {}.")
    for where, content in found.items():
        sops_values.check(content, where)
        if form == "yaml":
            sops_yaml.check_merges(content, where)
        if "sops" in content:
            raise InvalidInput(f"{where} has the key sops, which is that of sops itself")
    return list(found.values())


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


def _wanted(task: Task, path: pathlib.Path, content: list[Tree], file: sops.File | None) -> Wanted:
    params = task.params
    given = Rules(
        **{name: params[name] or "" for name in sops_values.RULES},
        mac_only_encrypted=bool(params["mac_only_encrypted"]),
    )
    if file:
        _check_rules(params, file.metadata.rules, path)
        trees = _combined(params, path, content, sops.documents(file.tree))
        tree = sops.ordered(without(trees, params["remove"]), file.tree)
        stay = _recipients(params) or file.metadata.recipients
        return Wanted(tree, stay, file.metadata.rules, _rotated(params, path, file, stay))
    if params["content"] is None and params["documents"] is None and not params["src"]:
        raise InvalidInput(f"There is no file of sops at {path}, and no content to make one of")
    recipients = _recipients(params)
    config = files.absolute(params["config_file"]) if params["config_file"] else sops_rules.find(path)
    if recipients is None:
        rule = _rule(config, path)
        recipients, given = rule.recipients, _completed(params, given, rule.rules)
    elif config and not given.select:
        given = _completed(params, given, sops_rules.rules_for(path, config))
    if not recipients:
        raise InvalidInput("recipients is empty", hint="Nobody could read the file.")
    return Wanted(without(content, params["remove"]), recipients, given)


def _completed(params: dict[str, t.Any], given: Rules, of_rule: Rules) -> Rules:
    """What the task says counts, then the creation rule."""
    if given.select:
        return given
    only = params["mac_only_encrypted"]
    return of_rule if only is None else dataclasses.replace(of_rule, mac_only_encrypted=only)


def _recipients(params: dict[str, t.Any]) -> list[str] | None:
    given = params["recipients"]
    return given and list(dict.fromkeys(recipient.strip() for recipient in given))


def _rotated(params: dict[str, t.Any], path: pathlib.Path, file: sops.File, recipients: list[str]) -> bool:
    """Whether a new data key is made. Raises InvalidInput when somebody could not be given it."""
    removed = set(file.metadata.recipients) - set(recipients)
    if params["rotate"] == "never" or (params["rotate"] == "removal" and not removed):
        return False
    file.metadata.check_rotatable(str(path))
    for recipient in recipients:
        age.parse_recipient(recipient)
    return True


def _combined(params: dict[str, t.Any], path: pathlib.Path, content: list[Tree], there: list[Tree]) -> list[Tree]:
    """Each document with the one in its place; those that are not named stay, unless the content is exact."""
    if params["content"] is not None and len(there) > 1:
        raise InvalidInput(
            f"{path} holds {len(there)} documents, and content is for one",
            hint="Give documents, {} for each that stays as it is.",
        )
    if params["exact"]:
        return content
    pairs = itertools.zip_longest(there, content, fillvalue=t.cast("Tree", {}))
    return [merged(old, new) for old, new in pairs]


def _rule(config: pathlib.Path | None, path: pathlib.Path) -> sops_rules.Rule:
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


def without(trees: list[Tree], paths: t.Sequence[t.Sequence[t.Any]]) -> Content:
    """The same without what is to be removed; what is not there is removed already. Raises InvalidInput where it is not
    clear in which document that is."""
    trees = copy.deepcopy(trees)
    for number, names in enumerate(paths):
        which, keys = (names[0], names[1:]) if _is_number(names[0]) else (None, names)
        if which is None and len(trees) == 1:
            _remove(trees[0], keys)
        elif which is not None and len(trees) > which >= 0 and len(trees) > 1:
            _remove(trees[which], keys)
        elif len(trees) == 1:
            raise InvalidInput(f"remove[{number}] begins with the number of a document, and the file has one only")
        else:
            raise InvalidInput(
                f"remove[{number}] does not begin with the number of a document, of which there are {len(trees)}",
                hint="That of the first is 0.",
            )
    return sops.content_of(trees)


def _remove(tree: Tree, keys: t.Sequence[str]) -> None:
    at: t.Any = tree
    for name in keys[:-1]:
        at = at.get(name) if isinstance(at, dict) else None
    if isinstance(at, dict):
        at.pop(keys[-1], None)


# -- the plan -------------------------------------------------------------------------------------------------------------


def _plan(path: pathlib.Path, file: sops.File | None, wanted: Wanted) -> Plan:
    """One change of one file; of its values the names only."""
    resource = f"sops/{path}"
    if file is None:
        made = {**dict.fromkeys(_flat(wanted.tree), HIDDEN), "recipients": wanted.recipients}
        return Plan.of([Change(resource, "create", after=made)])
    before: Tree = {}
    after: Tree = {}
    several = isinstance(file.tree, list) or isinstance(wanted.tree, list)
    old, new = (_flat(tree, several) for tree in (file.tree, wanted.tree))
    for name in {**old, **new}:
        if name not in new or name not in old or not sops_values.same(old[name], new[name]):
            before.update({name: HIDDEN} if name in old else {})
            after.update({name: HIDDEN} if name in new else {})
    there = file.metadata.recipients
    if set(there) != set(wanted.recipients):
        before["recipients"], after["recipients"] = there, wanted.recipients
    if wanted.rotated:
        before["data_key"], after["data_key"] = HIDDEN, COMPUTED
    return Plan.of([Change(resource, "update", before, after)] if before or after else [])


def _flat(content: Content, several: bool | None = None) -> Tree:
    """Each value that is no mapping, by its names: ``values.database.password``; with ``several``, the document's number
    before them, as in ``values[1].database``."""
    several = isinstance(content, list) if several is None else several
    if not several:
        return dict(_named(content, "values")) if content else {}
    trees = enumerate(sops.documents(content))
    return {name: value for number, tree in trees for name, value in _named(tree, f"values[{number}]")}


def _named(tree: t.Any, name: str) -> t.Iterator[tuple[str, t.Any]]:
    if not isinstance(tree, dict) or not tree:
        yield name, tree
        return
    for key, value in tree.items():
        yield from _named(value, f"{name}.{key}")


def _texts(tree: Content, rules: Rules) -> set[str]:
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
    if dest.resolve() == path.resolve():
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
