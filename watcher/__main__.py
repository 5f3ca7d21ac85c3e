"""`python -m watcher` is `alphadrop`."""

import sys

from watcher.cli import main

sys.exit(main())
