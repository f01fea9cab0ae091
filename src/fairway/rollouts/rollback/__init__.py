"""Smart rollback: a version that was promoted is watched for a while, and taken back where it turns out bad after all.

The object is `RollbackPolicy` (`docs/rollback.md`). Taking back is a commit where GitOps owns the workload: here only the
evidence is left on it.
"""
