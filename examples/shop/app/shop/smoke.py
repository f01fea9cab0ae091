"""Smoke test after a deployment: reads only, says which answer was wrong, exits 1."""

import os
import sys
import urllib.error
import urllib.request

CHECKS = ("/health/live", "/health/ready", "/version", "/api/orders")


def main() -> int:
    base = os.environ["SHOP_URL"].rstrip("/")
    for path in CHECKS:
        try:
            with urllib.request.urlopen(base + path, timeout=5) as answer:
                print(f"{path}: {answer.status}")
        except (urllib.error.URLError, TimeoutError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
