"""The daemon's entry, `python -m fairway.daemon`: everything else is in `serve`, which loads some seven hundred modules."""

from __future__ import annotations

import gc
import logging
import os
import sys

if __name__ == "__main__":
    gc.disable()  # loading makes no garbage, but walking over what is loaded costs a tenth of the start; `serve` ends this
    from fairway.serve import main

    code = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # what must be on disk is there; threads that still wait hold nobody up
