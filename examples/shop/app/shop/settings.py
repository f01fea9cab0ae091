"""What the environment decides."""

import os
from pathlib import Path


def database_url() -> str:
    """`DATABASE_URL` (PostgreSQL in production), else one SQLite file below `DATA_DIR`."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    return f"sqlite:///{Path(os.environ.get('DATA_DIR', '.')).absolute() / 'shop.db'}"
