"""``python -m priprune_plugins.cli``: the same as the command ``priprune``."""

import sys

from priprune_plugins.cli import main

sys.exit(main())
