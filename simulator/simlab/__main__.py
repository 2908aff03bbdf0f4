# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m simlab`` is ``rehearse``."""

import sys

from .cli import main

sys.exit(main())
