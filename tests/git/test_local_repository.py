"""The git port over a bare repository: read, compare, commit, lose a race and win it again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pygit2
import pytest

from fairway.git import (
    Change,
    LocalRepository,
    LostRace,
    Person,
    Repositories,
    Tree,
    UnknownRevision,
    commit_with_retry,
)
from fairway.git.repositories import BadName

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ANN = Person("Ann", "ann@example.com")


def change(message: str = "change", **files: str | None) -> Change:
    named = {path.replace("__", "/"): text.encode() if text is not None else None for path, text in files.items()}
    return Change(named, message, ANN, NOW)


@pytest.fixture
def repo(tmp_path: Path) -> LocalRepository:
    return Repositories(tmp_path).create("shop/deploy")


def test_a_commit_is_read_back(repo: LocalRepository) -> None:
    first = repo.commit("main", change(readme="hello", prod__k="a", prod__deep__x="x"), expected_head="")
    assert repo.resolve("main") == repo.resolve("HEAD") == repo.resolve(first[:10]) == first
    assert repo.refs() == {"refs/heads/main": first}
    tree = repo.read_tree(first)
    assert dict(tree) == {"readme": b"hello", "prod/k": b"a", "prod/deep/x": b"x"}
    assert tree.names("prod") == ["deep", "k"]
    assert tree.is_dir("prod/deep") and not tree.is_file("prod/deep") and "prod/k" in tree
    assert dict(repo.read_tree(first, "prod")) == {"k": b"a", "deep/x": b"x"}


def test_deleting_the_last_file_of_a_folder_deletes_the_folder(repo: LocalRepository) -> None:
    first = repo.commit("main", change(a="1", b__c__d="2"), expected_head="")
    second = repo.commit("main", change(b__c__d=None), expected_head=first)
    assert dict(repo.read_tree(second)) == {"a": b"1"}
    assert not repo.read_tree(second).is_dir("b")
    assert repo.changed_paths(first, second) == {"b/c/d"}
    assert repo.changed_paths("", second) == {"a"}


def test_log_can_be_narrowed_to_a_path_and_reads_trailers(repo: LocalRepository) -> None:
    one = repo.commit("main", change("add\n\nFairway-Image: shop@sha256:1\n", prod__k="1"), expected_head="")
    two = repo.commit("main", change("docs", readme="x"), expected_head=one)
    three = repo.commit("main", change("bump", prod__k="2"), expected_head=two)
    assert [c.sha for c in repo.log("main")] == [three, two, one]
    assert [c.subject for c in repo.log("main", path="prod")] == ["bump", "add"]
    assert repo.log("main")[-1].trailers() == {"Fairway-Image": "shop@sha256:1"}
    assert repo.log("main")[0].committed_at == NOW


def test_a_lost_race_is_typed_and_changes_nothing(repo: LocalRepository) -> None:
    one = repo.commit("main", change(a="1"), expected_head="")
    two = repo.commit("main", change(a="2"), expected_head=one)
    with pytest.raises(LostRace):
        repo.commit("main", change(a="3"), expected_head=one)
    with pytest.raises(LostRace):
        repo.commit("main", change(a="3"), expected_head="")
    assert repo.resolve("main") == two


def test_commit_with_retry_makes_the_change_again_on_the_new_head(repo: LocalRepository) -> None:
    repo.commit("main", change(counter="0"), expected_head="")
    raced = []

    def increment(tree: Tree, head: str) -> Change | None:
        if not raced:  # somebody commits between our reading and our writing, once
            raced.append(repo.commit("main", change(counter="10"), expected_head=head))
        return change(counter=str(int(tree["counter"]) + 1))

    sha = commit_with_retry(repo, "main", increment)
    assert sha is not None and repo.read_tree(sha)["counter"] == b"11"
    assert commit_with_retry(repo, "main", lambda tree, head: None) is None


def test_commits_through_the_port_are_announced(tmp_path: Path) -> None:
    heard: list[str] = []
    repo = Repositories(tmp_path, on_change=heard.append).create("a")
    repo.commit("main", change(x="1"), expected_head="")
    assert heard == ["a"]


def test_a_tag_of_something_that_is_no_commit_is_left_out(repo: LocalRepository) -> None:
    """Some repositories tag a key or a bare tree."""
    head = repo.commit("main", change(a="1"), expected_head="")
    bare = pygit2.Repository(str(repo.path))
    bare.references.create("refs/tags/key", bare.create_blob(b"key"))
    assert repo.refs() == {"refs/heads/main": head}


def test_an_unknown_revision_says_so(repo: LocalRepository) -> None:
    with pytest.raises(UnknownRevision, match="no branch, tag or commit 'nope'"):
        repo.resolve("nope")


@pytest.mark.parametrize("name", ["../etc", "a/../b", "/abs", "a//b", ".hidden", "a.git/b", "a b", "", "x.lock"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadName):
        Repositories(tmp_path).create(name)


def test_repositories_are_listed_and_created_once(tmp_path: Path) -> None:
    all_of_them = Repositories(tmp_path)
    assert all_of_them.names() == []
    sha = all_of_them.create("shop/app").commit("main", change(x="1"), expected_head="")
    assert all_of_them.create("shop/app").resolve("main") == sha
    all_of_them.create("shop")
    assert all_of_them.names() == ["shop", "shop/app"]
