# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's messages as Python classes, made at run time from the compiled schema.

``schema.message("ApplyConfigurationRequest")(data=b"…", mode=1)``; works with protobuf 3.20 to 7.
"""

from __future__ import annotations

import base64
import functools
import importlib
import typing as t

from ..errors import MissingDependency
from .schema_descriptor import DESCRIPTOR_SET

PACKAGE = "groundwork.talos"

#: A class made from a descriptor: no static type knows its fields.
MessageClass = t.Callable[..., t.Any]


def _protobuf(name: str) -> t.Any:
    try:
        return importlib.import_module(f"google.protobuf.{name}")
    except ImportError as error:
        raise MissingDependency("protobuf", reason=str(error)) from error


@functools.lru_cache(maxsize=1)
def _pool() -> t.Any:
    files = _protobuf("descriptor_pb2").FileDescriptorSet.FromString(base64.b64decode(DESCRIPTOR_SET))
    pool = _protobuf("descriptor_pool").DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@functools.cache
def message(name: str) -> MessageClass:
    """The class of a message of schema.proto."""
    factory = _protobuf("message_factory")
    descriptor = _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")
    if hasattr(factory, "GetMessageClass"):
        return t.cast(MessageClass, factory.GetMessageClass(descriptor))
    return t.cast(MessageClass, factory.MessageFactory(_pool()).GetPrototype(descriptor))


def decode(name: str, data: bytes) -> t.Any:
    """One message from its bytes; raises :class:`ValueError` when they are not one."""
    try:
        return t.cast(t.Any, message(name)).FromString(data)
    except _protobuf("message").DecodeError as error:
        raise ValueError(f"not a {name}: {error}") from error
