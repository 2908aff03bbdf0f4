# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to its handler: routes, parameters, permissions, in the order of the real server."""

from __future__ import annotations

import dataclasses
import inspect
import typing as t

from . import schema
from .access import Caller
from .errors import ApiError, Failure, NotSimulated, ParameterError
from .permissions import Permissions
from .tasks import Undo, Work

if t.TYPE_CHECKING:
    from .cluster import Cluster, Node

Handler = t.Callable[["Call"], t.Any]
_HANDLERS: dict[tuple[str, str], Handler] = {}


@dataclasses.dataclass
class Upload:
    """A file that came with a multipart request."""

    filename: str
    content: bytes


class Counted(list[t.Any]):
    """A part of a longer list: ``total`` entries stand in the whole, as the answer says beside the data."""

    def __init__(self, entries: t.Iterable[t.Any], total: int) -> None:
        super().__init__(entries)
        self.total = total


@dataclasses.dataclass(frozen=True)
class Download:
    """An answer that is a file instead of JSON."""

    name: str
    text: str


@dataclasses.dataclass
class Call:
    """One request on its way to its handler. ``params`` holds path variables and parameters, as text."""

    cluster: Cluster
    method: str
    template: str
    params: dict[str, t.Any]
    caller: Caller
    allowed: Permissions
    upload: Upload | None = None

    @property
    def node(self) -> Node:
        return self.cluster.nodes[self.params["node"]]

    @property
    def vmid(self) -> int:
        return int(self.params["vmid"])

    def text(self, name: str, default: str = "") -> str:
        return str(self.params.get(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        return str(self.params[name]) == "1" if name in self.params else default

    def without_path(self) -> dict[str, t.Any]:
        """The parameters without the variables of the path."""
        return {name: value for name, value in self.params.items() if f"{{{name}}}" not in self.template}

    def start(self, kind: str, ident: t.Any, work: Work, undo: Undo | None = None) -> str:
        """Start a task on this call's node; the UPID."""
        return self.cluster.tasks.start(self.node.name, kind, str(ident), self.caller.name, work, undo)

    async def in_time(self, upid: str, parameter: str, failed: str = "") -> str | None:
        """A task that ends within the seconds of this parameter is answered by its result instead of its UPID. ``failed``:
        what stands before its error."""
        delay = float(self.params.get(parameter, 0))
        task = await self.cluster.tasks.ended_within(upid, delay) if delay else None
        if task is None:
            return upid
        if task.failed:
            raise Failure(f"{failed}{task.exit_status}")
        return None


def handles(method: str, *templates: str) -> t.Callable[[Handler], Handler]:
    """Register a handler for paths of the description."""

    def register(handler: Handler) -> Handler:
        for template in templates:
            if method not in schema.load().paths.get(template, {}):
                raise ValueError(f"the API has no {method} {template}")
            _HANDLERS[method, template] = handler
        return handler

    return register


async def answer(
    cluster: Cluster,
    method: str,
    parts: list[str],
    given: t.Callable[[], t.Awaitable[tuple[dict[str, t.Any], Upload | None]]],
    caller: t.Callable[[], t.Awaitable[Caller]],
) -> t.Any:
    """The data of the answer. Order: 401, 501, stated permissions (403), unknown node, parameters (400), the rest."""
    who = await caller()
    path = "/" + "/".join(parts)
    route = schema.load().match(parts)
    if route is None or method not in route.methods:
        raise ApiError(501, f"Method '{method} {path}' not implemented")
    description = route.methods[method]
    sent, upload = await given()
    params = _merge(route.variables, sent)
    if who.is_token and not description.get("allowtoken", 1):
        raise ApiError(403, f"URI '{path}' not available with API token, need proper ticket.")
    allowed = Permissions(cluster.access, who)
    allowed.check_method(description.get("permissions"), params)
    _check_node(cluster, route)
    errors = schema.check_parameters(description.get("parameters") or {}, params)
    if errors:
        raise ParameterError(errors)
    if not (method == "PUT" and route.template.endswith("/config")):  # where it is found option by option
        refuse_undefined(params)
    call = Call(cluster, method, route.template, params, who, allowed, upload)
    handler = _HANDLERS.get((method, route.template)) or _index(call)
    if handler is None:
        raise NotSimulated(method, path)
    result = handler(call)
    return await result if inspect.isawaitable(result) else result


def refuse_undefined(params: dict[str, t.Any]) -> None:
    for name, value in params.items():
        if value is None:
            raise Failure(f"unable to parse value of '{name}' - got undefined value")


def _merge(variables: dict[str, str], params: dict[str, t.Any]) -> dict[str, t.Any]:
    text = "duplicate parameter (already defined in URI) with conflicting values!"
    twice = [name for name, value in variables.items() if name in params and str(params[name]) != value]
    if twice:
        raise ParameterError(dict.fromkeys(twice, text))
    return {**params, **variables}


def _check_node(cluster: Cluster, route: schema.Route) -> None:
    """A request goes on to its node: an unknown one has no address, one that is off does not answer."""
    node = route.variables.get("node")
    if node in cluster.nodes and not cluster.nodes[node].online:
        raise ApiError(595, "No route to host")
    if node is not None and node not in cluster.nodes:
        reason = "Temporary failure in name resolution"
        raise Failure(f"hostname lookup '{node}' failed - failed to get address info for: {node}: {reason}")


#: Indices whose entries are not called ``name`` in the real API.
_INDEX_KEYS = {
    "/nodes/{node}/qemu/{vmid}": "subdir",
    "/nodes/{node}/lxc/{vmid}": "subdir",
    "/nodes/{node}/qemu/{vmid}/status": "subdir",
    "/nodes/{node}/lxc/{vmid}/status": "subdir",
    "/nodes/{node}/storage/{storage}": "subdir",
    "/access": "subdir",
}


def _index(call: Call) -> Handler | None:
    """Directory indices: the names below a path that has no data of its own."""
    returns = schema.load().paths[call.template]["GET"].get("returns", {}) if call.method == "GET" else {}
    names = schema.load().children(call.template)
    properties = (returns.get("items") or {}).get("properties") or {}
    if call.method != "GET" or not names or (properties and set(properties) - {"name", "subdir", "id"}):
        return None
    key = _INDEX_KEYS.get(call.template) or next(iter(properties), "name")
    return lambda _call: [{key: name} for name in names]
