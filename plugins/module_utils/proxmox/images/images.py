# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on storages: read once a storage, plan, say what is not possible; the changes are made by ``image_apply``."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ...errors import HomelabError, InvalidInput, NotFound
from ...plan import Change, Plan
from ...task import Result, Task
from ..api import rights
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from ..api.tasks import Tasks
from ..facts.reading import opened
from .image_apply import Applier, content_of
from .image_spec import EXTENSIONS, Image, wanted

#: Where something is: (node, storage).
Place = tuple[str, str]
#: Place -> volume id -> bytes.
Contents = t.Mapping[Place, t.Mapping[str, int]]
#: (node, url) -> bytes, for what is compared by its size.
Sizes = t.Mapping[tuple[str, str], int]
#: (node, storage) -> what the list of a node's storages says.
Storages = dict[Place, dict[str, t.Any]]


def converge(task: Task) -> Result:
    """The module ``proxmox_image``."""
    images = wanted(task.params["images"])
    with opened(task) as session:
        tasks = Tasks(session, task.warn)
        images = resolved(session, images)
        contents = read(session, {image.place for image in images})
        made = plan(images, contents, _sizes(session, images, contents))
        made = _checked(session, made)
        if not task.check_mode:
            Applier(session, tasks).carry_out(made)
        return task.result(made, images=_report(images, made))


def read(session: Session, places: t.Collection[Place]) -> Contents:
    """One list a storage."""
    ordered = sorted(places)
    return dict(zip(ordered, together(lambda place: _content(session, place), ordered), strict=True))


def plan(images: t.Sequence[Image], contents: Contents, sizes: Sizes | None = None) -> Plan:
    """Pure. A file that is there is taken to be right, unless sizes are to be compared: the API does not tell its
    checksum.
    """
    changes = []
    for image in images:
        size = contents[image.place].get(image.volid)
        right = image.size or (sizes or {}).get((image.node, image.url), 0) if image.compare == "size" else 0
        if image.state == "absent":
            if size is not None:
                changes.append(Change(image.resource, "delete", before={"size": size}, operation=image))
        elif size is None:
            changes.append(Change(image.resource, "create", after=_shown(image), operation=image))
        elif right and size != right:
            after = {**_shown(image), "size": right}
            changes.append(Change(image.resource, "update", {"size": size}, after, operation=image))
    return Plan.of(changes)


def once(made: Plan, storages: t.Mapping[Place, t.Mapping[str, t.Any]]) -> Plan:
    """Without the changes that another one of the same shared storage makes already."""
    seen: set[str] = set()
    kept = []
    for change in made:
        image: Image = change.operation
        shared = bool(int(storages.get(image.place, {}).get("shared") or 0))
        if shared and image.volid in seen:
            continue
        seen |= {image.volid} if shared else set()
        kept.append(change)
    return Plan.of(kept)


def _shown(image: Image) -> dict[str, t.Any]:
    shown = {key: value for key in ("url", "src", "appliance", "compression") if (value := getattr(image, key))}
    if image.checksum:
        shown["checksum"] = f"{image.algorithm}:{image.checksum}"
    if image.order:
        shown["schematic"] = image.order.build.id
    return shown


def _content(session: Session, place: Place) -> dict[str, int]:
    try:
        return content_of(session, place)
    except NotFound as error:
        raise InvalidInput(f"{error.answer} (node {place[0]})", hint="Check node and storage of the image.") from error


# -- what has to be looked up ----------------------------------------------------------------------------------------


def resolved(session: Session, images: t.Sequence[Image]) -> list[Image]:
    """With the newest version of each appliance that is named by its beginning. One list a node."""
    nodes = sorted({image.node for image in images if not image.filename})
    lists = dict(zip(nodes, together(lambda node: _appliances(session, node), nodes), strict=True))
    return [image if image.filename else _newest(image, lists[image.node]) for image in images]


def _appliances(session: Session, node: str) -> list[dict[str, t.Any]]:
    asked = f"list the container templates that Proxmox offers to node {node}"
    return listing(session, f"/nodes/{segment(node)}/aplinfo", "template", asked=asked)


def _newest(image: Image, offered: t.Sequence[t.Mapping[str, t.Any]]) -> Image:
    names = {str(entry["template"]): entry for entry in offered if entry.get("type", "lxc") == "lxc"}
    fits = [
        name
        for name in names
        if name == image.appliance or name.startswith((f"{image.appliance}_", f"{image.appliance}-"))
    ]
    if not fits:
        like = sorted({str(entry.get("package")) for entry in names.values()})
        raise InvalidInput(
            f"Node {image.node} knows no container template {image.appliance!r}",
            hint=f"It knows {', '.join(like) or 'none'}. Its list is refreshed by: pveam update.",
        )
    packages = {str(names[name].get("package")) for name in fits}
    if len(packages) > 1:
        raise InvalidInput(
            f"appliance {image.appliance!r} can be {' or '.join(sorted(packages))}", hint="Write more of it."
        )
    newest = max(fits, key=lambda name: _version(str(names[name].get("version") or name)))
    if not newest.lower().endswith(EXTENSIONS["vztmpl"]):
        raise InvalidInput(f"The container template {newest!r} has a name that storages do not take")
    return dataclasses.replace(image, appliance=newest, filename=newest)


def _version(text: str) -> list[tuple[int, str]]:
    """In which numbers are compared as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d]+", text)]


def _sizes(session: Session, images: t.Sequence[Image], contents: Contents) -> Sizes:
    """What the servers of the urls say, asked through the nodes, of what is there and compared by size."""
    asked = sorted(
        {
            (image.node, image.url, image.order is None or image.order.factory.validate_certs)
            for image in images
            if image.compare == "size"
            and image.url
            and image.state == "present"
            and image.volid in contents[image.place]
        }
    )
    found = together(lambda one: _size(session, *one), asked)
    return {(node, url): size for (node, url, _verify), size in zip(asked, found, strict=True)}


def _size(session: Session, node: str, url: str, verify: bool) -> int:
    query = {"url": url, **({} if verify else {"verify-certificates": 0})}
    asked = f"read the size of {url} through node {node}"
    try:
        found = record(session, f"/nodes/{segment(node)}/query-url-metadata", query, asked=asked)
    except HomelabError as error:
        error.hint = error.hint or "Is the url right, and can the node reach it? compare=name does not ask."
        raise type(error)(error.asked, of=error.of, answer=error.answer, hint=error.hint, **error.details) from error
    size = int(found.get("size") or 0)
    if not size:
        raise InvalidInput(f"The server of {url} does not tell the size of the file", hint="Set compare to name.")
    return size


# -- what is said before anything is written -------------------------------------------------------------------------


def _storages(session: Session, node: str) -> list[dict[str, t.Any]]:
    return listing(session, f"/nodes/{segment(node)}/storage", "storage", asked=f"list the storages of node {node}")


def _checked(session: Session, made: Plan) -> Plan:
    """The plan, each file of a shared storage once. Nothing is asked when nothing is to be done."""
    if not made:
        return made
    nodes = sorted({change.operation.node for change in made})
    lists = together(lambda node: _storages(session, node), nodes)
    storages = {(node, one["storage"]): one for node, found in zip(nodes, lists, strict=True) for one in found}
    made = once(made, storages)
    known = rights.read(session)
    rights.check(known, [need for change in made for need in _needs(change)], asked="change images")
    for change in made:
        if change.action != "delete":
            _check_storage(change.operation, storages)
            _check_file(change.operation)
    return made


def _needs(change: Change) -> list[rights.Need]:
    image: Image = change.operation
    storage, node = f"/storage/{image.storage}", f"/nodes/{image.node}"
    needs = []
    if image.state == "absent" or (change.action == "update" and image.url):
        needs.append(rights.Need((storage,), ("Datastore.Allocate",), f"delete {image.volid}"))
    if image.state == "present":
        verb = "upload" if image.src else "download"
        needs.append(rights.Need((storage,), ("Datastore.AllocateTemplate",), f"{verb} {image.volid}"))
    if image.state == "present" and image.url:
        needs.append(rights.Need((node, "/"), ("Sys.AccessNetwork", "Sys.Modify"), f"download {image.volid}"))
    return needs


def _check_storage(image: Image, storages: t.Mapping[Place, t.Mapping[str, t.Any]]) -> None:
    """A storage takes only certain content."""
    content = _kinds(storages.get(image.place, {})) or {image.content}
    if image.content not in content:
        able = sorted(
            name for (node, name), one in storages.items() if node == image.node and image.content in _kinds(one)
        )
        raise InvalidInput(
            f"The storage {image.storage!r} of node {image.node} takes no {image.content}, only {', '.join(sorted(content))}",
            hint=f"These do: {', '.join(able) or 'none'}. Content kinds are set in the storage's definition.",
        )
    free = storages.get(image.place, {}).get("avail")
    if image.size and free is not None and image.size > int(free):
        raise InvalidInput(
            f"{image.src} has {image.size} bytes, but the storage {image.storage} of node {image.node} only {free} free"
        )


def _kinds(storage: t.Mapping[str, t.Any]) -> set[str]:
    return {kind for kind in re.split(r"[,\s]+", storage.get("content") or "") if kind}


def _check_file(image: Image) -> None:
    """A file that is not what its checksum says is not sent at all."""
    if not image.src or not image.checksum:
        return
    with open(image.src, "rb") as file:
        got = hashlib.file_digest(file, image.algorithm).hexdigest()
    if got != image.checksum:
        raise InvalidInput(
            f"The {image.algorithm} checksum of {image.src} is {got}, not {image.checksum}",
            hint="Nothing was uploaded. Is it the right file, and complete?",
        )


def _report(images: t.Sequence[Image], made: Plan) -> list[dict[str, t.Any]]:
    """One entry an image, the same in check mode and in a run."""
    touched = {change.resource for change in made}
    return [
        {
            "volid": image.volid,
            "node": image.node,
            "storage": image.storage,
            "content": image.content,
            "filename": image.filename,
            "url": image.url,
            "schematic": image.order.build.id if image.order else None,
            "state": image.state,
            "changed": image.resource in touched,
        }
        for image in images
    ]
