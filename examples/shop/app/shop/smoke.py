"""Smoke test after a deployment: reads only, says which answer was wrong, exits 1.

It runs from the image that was deployed, so it knows which version has to answer.
"""

import json
import os
import sys
import urllib.error
import urllib.request

from shop import __version__

CHECKS = ("/health/live", "/health/ready", "/version", "/api/orders")


def main() -> int:
    base = os.environ["SHOP_URL"].rstrip("/")
    for path in CHECKS:
        try:
            with urllib.request.urlopen(base + path, timeout=5) as answer:
                body = json.load(answer)
                print(f"{path}: {answer.status}")
            if path == "/version" and body["version"] != __version__:
                print(f"{path}: {body['version']} answers, not {__version__}", file=sys.stderr)
                return 1
        except (urllib.error.URLError, TimeoutError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
