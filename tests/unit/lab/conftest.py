# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of this folder import :mod:`lab_inventories` from it."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
