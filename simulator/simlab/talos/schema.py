# SPDX-License-Identifier: GPL-3.0-or-later
"""Protobuf classes made at run time from ``api.proto``: no generated code, so any protobuf version will do.

The classes live in a descriptor pool of their own. ``RPCS`` is every method that the API has, by its gRPC path.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import functools
import pathlib
import re
import typing as t

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    message_factory,
    timestamp_pb2,
)

_WELL_KNOWN = {
    "Any": any_pb2,
    "Duration": duration_pb2,
    "Empty": empty_pb2,
    "Timestamp": timestamp_pb2,
}
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _FIELD.TYPE_DOUBLE,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "int32": _FIELD.TYPE_INT32,
    "uint32": _FIELD.TYPE_UINT32,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}
_TOKEN = re.compile(r'"[^"]*"|[\w.]+|[{}()<>=;,]')


@dataclasses.dataclass(frozen=True)
class Rpc:
    """One method: its path, the full names of its messages, and what streams."""

    service: str  # "machine.MachineService"
    name: str  # "Version"
    request: str
    reply: str
    client_streams: bool
    server_streams: bool

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(re.sub(r"//[^\n]*", "", text))
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._tokens)

    def next(self) -> str:
        token: str = self._tokens[self._at]
        self._at += 1
        return token

    def peek(self) -> str:
        return t.cast(str, self._tokens[self._at])

    def expect(self, *wanted: str) -> None:
        for token in wanted:
            if (found := self.next()) != token:
                raise ValueError(f"api.proto: expected {token!r}, found {found!r}")

    def skip(self, token: str) -> bool:
        if self.peek() == token:
            self._at += 1
            return True
        return False


class _Parser:
    """Reads packages of messages, enums and services into file descriptors, one a package."""

    def __init__(self, text: str) -> None:
        self._tokens = _Tokens(text)
        self.files: list[descriptor_pb2.FileDescriptorProto] = []
        self.rpcs: list[Rpc] = []

    def parse(self) -> None:
        readers = {
            "package": self._package,
            "message": self._message,
            "enum": self._enum,
            "service": self._service,
        }
        while self._tokens.more():
            keyword = self._tokens.next()
            if keyword in ("message", "enum"):
                file = self.files[-1]
                into = file.message_type.add() if keyword == "message" else file.enum_type.add()
                readers[keyword](into)  # type: ignore[operator]
            else:
                readers[keyword]()  # type: ignore[operator]

    def _package(self) -> None:
        name = self._tokens.next()
        self._tokens.expect(";")
        known = [module.DESCRIPTOR.name for module in _WELL_KNOWN.values()]
        self.files.append(
            descriptor_pb2.FileDescriptorProto(
                name=f"{name}.proto",
                package=name,
                syntax="proto3",
                dependency=known + [file.name for file in self.files],
            )
        )

    def _enum(self, into: descriptor_pb2.EnumDescriptorProto) -> None:
        into.name = self._tokens.next()
        self._tokens.expect("{")
        while not self._tokens.skip("}"):
            name = self._tokens.next()
            self._tokens.expect("=")
            into.value.add(name=name, number=int(self._tokens.next()))
            self._tokens.expect(";")

    def _message(self, into: descriptor_pb2.DescriptorProto) -> None:
        into.name = self._tokens.next()
        self._tokens.expect("{")
        while not self._tokens.skip("}"):
            if self._tokens.skip("enum"):
                self._enum(into.enum_type.add())
            elif self._tokens.skip("message"):
                self._message(into.nested_type.add())
            elif self._tokens.skip("map"):
                self._map(into)
            else:
                self._field(into)

    def _map(self, into: descriptor_pb2.DescriptorProto) -> None:
        self._tokens.expect("<", "string", ",", "string", ">")
        name = self._tokens.next()
        entry = into.nested_type.add(name=name.title() + "Entry")
        entry.options.map_entry = True
        for number, part in enumerate(("key", "value"), 1):
            entry.field.add(
                name=part,
                number=number,
                type=_FIELD.TYPE_STRING,
                label=_FIELD.LABEL_OPTIONAL,
            )
        self._tokens.expect("=")
        number = int(self._tokens.next())
        self._tokens.expect(";")
        into.field.add(name=name, number=number, type_name=entry.name, label=_FIELD.LABEL_REPEATED)

    def _field(self, into: descriptor_pb2.DescriptorProto) -> None:
        repeated, optional = (
            self._tokens.skip("repeated"),
            self._tokens.skip("optional"),
        )
        type_, name = self._tokens.next(), self._tokens.next()
        self._tokens.expect("=")
        number = int(self._tokens.next())
        self._tokens.expect(";")
        field = into.field.add(name=name, number=number)
        field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
        if type_ in _SCALARS:
            field.type = _SCALARS[type_]
        else:
            field.type_name = _qualified(type_)
        if optional:
            field.proto3_optional = True
            field.oneof_index = len(into.oneof_decl)
            into.oneof_decl.add(name="_" + name)

    def _service(self) -> None:
        package = self.files[-1].package
        service = f"{package}.{self._tokens.next()}"
        self._tokens.expect("{")
        while not self._tokens.skip("}"):
            self._tokens.expect("rpc")
            name = self._tokens.next()
            client, request = self._side()
            self._tokens.expect("returns")
            server, reply = self._side()
            self._tokens.expect(";")
            self.rpcs.append(
                Rpc(
                    service,
                    name,
                    _full(request, package),
                    _full(reply, package),
                    client,
                    server,
                )
            )

    def _side(self) -> tuple[bool, str]:
        self._tokens.expect("(")
        streams = self._tokens.skip("stream")
        type_ = self._tokens.next()
        self._tokens.expect(")")
        return streams, type_


def _qualified(type_: str) -> str:
    """Names without a package are left to protobuf's own lookup, well-known ones are Google's."""
    return f".google.protobuf.{type_}" if type_ in _WELL_KNOWN else type_


def _full(type_: str, package: str) -> str:
    if type_ in _WELL_KNOWN:
        return f"google.protobuf.{type_}"
    return type_ if "." in type_ else f"{package}.{type_}"


@functools.cache
def _loaded() -> tuple[descriptor_pool.DescriptorPool, tuple[Rpc, ...]]:
    parser = _Parser(pathlib.Path(__file__).with_name("api.proto").read_text(encoding="utf-8"))
    parser.parse()
    pool = descriptor_pool.DescriptorPool()
    for module in _WELL_KNOWN.values():
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in parser.files:
        pool.AddSerializedFile(file.SerializeToString())
    return pool, tuple(parser.rpcs)


@functools.cache
def message(name: str) -> t.Any:
    """The class of a message by its full name (``machine.VersionResponse``)."""
    return message_factory.GetMessageClass(_loaded()[0].FindMessageTypeByName(name))


def rpcs() -> c.Sequence[Rpc]:
    """Every method of the API."""
    return _loaded()[1]
