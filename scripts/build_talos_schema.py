#!/usr/bin/env python3
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile plugins/module_utils/talos/schema.proto into schema_descriptor.py (needs grpcio-tools, for its protoc).

A descriptor set, not generated Python: generated code is tied to one protobuf version, descriptors work on all. It
stands in a .py file, because nothing else of module_utils travels to where a module runs.
"""

from __future__ import annotations

import base64
import pathlib
import sys
import tempfile
import textwrap

ROOM = pathlib.Path(__file__).resolve().parent.parent / "plugins" / "module_utils" / "talos"
TARGET = ROOM / "schema_descriptor.py"

TEMPLATE = '''\
# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""schema.proto as a compiled FileDescriptorSet. Made by scripts/build_talos_schema.py: do not edit."""

from __future__ import annotations

DESCRIPTOR_SET = """
{lines}
"""
'''


def compiled() -> bytes:
    """The FileDescriptorSet of schema.proto."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "schema.binpb"
        arguments = ["protoc", f"-I{ROOM}", f"--descriptor_set_out={out}", "schema.proto"]
        if protoc.main(arguments):
            raise SystemExit("protoc refused schema.proto")
        return out.read_bytes()


def main() -> None:
    encoded = base64.b64encode(compiled()).decode()
    TARGET.write_text(TEMPLATE.format(lines=textwrap.fill(encoded, 118)), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name}: {len(encoded)} characters\n")


if __name__ == "__main__":
    main()
