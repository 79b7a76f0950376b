"""``python -m siamplex`` is the ``siamplex`` command."""

import sys

from siamplex.cli import main

sys.exit(main())
