"""Bare repositories, smart HTTP by git's own http-backend, and the git port.

Poll a ref, read a tree at a commit, commit a change without a work tree, push it, and retry a lost race. Knows nothing
of Kubernetes objects.
"""

from fairway.git.local import LocalRepository
from fairway.git.port import (
    Change,
    Commit,
    GitError,
    GitPort,
    LostRace,
    Person,
    ReadOnly,
    Tree,
    UnknownRepository,
    UnknownRevision,
    Unreachable,
    commit_with_retry,
)
from fairway.git.remote import Login, RemoteRepository
from fairway.git.repositories import Repositories

__all__ = [
    "Change", "Commit", "GitError", "GitPort", "LocalRepository", "Login", "LostRace", "Person", "ReadOnly", "RemoteRepository",
    "Repositories", "Tree", "UnknownRepository", "UnknownRevision", "Unreachable", "commit_with_retry",
]
