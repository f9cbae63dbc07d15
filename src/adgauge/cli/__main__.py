import sys

from adgauge.cli import main

sys.exit(main())
