# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema: compiled and up to date, numbers as the API has them, bytes as the wire has them."""

from __future__ import annotations

import base64
import importlib.util
import pathlib

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import schema, schema_descriptor

SCRIPT = pathlib.Path(__file__).parents[3] / "scripts" / "build_talos_schema.py"


def test_the_compiled_schema_is_up_to_date() -> None:
    pytest.importorskip("grpc_tools", reason="the compiler is a tool of developers, not of the oldest versions")
    spec = importlib.util.spec_from_file_location("build_talos_schema", SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert base64.b64decode(schema_descriptor.DESCRIPTOR_SET) == script.compiled()


def test_the_apply_request_has_the_bytes_of_the_api() -> None:
    request = schema.message("ApplyConfigurationRequest")(data=b"ab", mode=1, dry_run=True)
    assert request.SerializeToString() == b"\x0a\x02ab\x20\x01\x28\x01"


def test_mode_zero_is_reboot_and_absent_on_the_wire() -> None:
    answer = schema.decode("ApplyConfiguration", b"\x22\x02ok")
    assert (answer.mode, answer.mode_details) == (0, "ok")


def test_unknown_fields_of_newer_versions_are_skipped() -> None:
    message = schema.decode("VersionInfo", b"\x0a\x07v1.14.0\xfa\x01\x01x")
    assert message.tag == "v1.14.0"


def test_a_recorded_service_health_reads_back() -> None:
    health = schema.message("ServiceHealth")(healthy=True, last_message="fine")
    assert schema.decode("ServiceHealth", health.SerializeToString()).last_message == "fine"


def test_broken_bytes_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a VersionResponse"):
        schema.decode("VersionResponse", b"\x0a\xff")
