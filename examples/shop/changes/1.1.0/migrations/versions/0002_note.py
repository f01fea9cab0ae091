"""Orders may carry a note. Nullable: the version before this one goes on writing without it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("note", sa.String(500), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "note")
