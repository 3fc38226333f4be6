"""The key is made once, kept secret, and never silently a bad one."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from motetrace_host.core.errors import OperatorError
from motetrace_host.storage import secret_files, state_folder


def test_a_missing_key_is_made_of_32_random_bytes_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    key = secret_files.load_or_make_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_files.load_or_make_key(path) == key
    assert secret_files.load_key(path) == key
    assert secret_files.load_or_make_key(tmp_path / "other") != key


def test_a_key_is_for_its_owner_alone_whatever_the_umask_and_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    write = os.write

    def watching(descriptor: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watching)
    before = os.umask(0)
    try:
        secret_files.load_or_make_key(tmp_path / "new" / "key")
    finally:
        os.umask(before)
    assert modes == [0o600], "before a byte of it is written"
    assert stat.S_IMODE((tmp_path / "new" / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["key"]


def test_a_named_key_that_is_missing_is_refused_with_the_remedy_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "typo" / "key"
    with pytest.raises(OperatorError, match=r"does not exist; copy it from another host.*leave --key-file out"):
        secret_files.load_key(path)
    assert not path.parent.exists()


def test_a_key_that_cannot_be_made_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperatorError, match="a folder that this user can write to"):
        secret_files.load_or_make_key(tmp_path / "file" / "key")


def test_shims_that_start_together_agree_on_the_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_files.load_or_make_key(tmp_path / "key"), range(8)))
    assert len(keys) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(32))
    path.chmod(mode)
    with pytest.raises(OperatorError, match=f"{mode:04o}.*chmod 600"):
        secret_files.load_key(path)


@pytest.mark.parametrize("size", [0, 15, 65, 100])
def test_a_key_of_a_wrong_length_is_refused_with_the_range(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(OperatorError, match=r"16\.\.64"):
        secret_files.load_key(path)


@pytest.mark.parametrize("size", [16, 64])
def test_the_ends_of_the_range_are_allowed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    assert len(secret_files.load_key(path)) == size


def test_one_shim_per_state_folder(tmp_path: Path) -> None:
    first = state_folder.take(tmp_path / "state")
    with pytest.raises(OperatorError, match=r"in use.*--state"):
        state_folder.take(tmp_path / "state")
    first.close()
    state_folder.take(tmp_path / "state").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_the_client_id_is_drawn_once_per_state_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = state_folder.client_id(tmp_path / "a")
    assert state_folder.client_id(tmp_path / "a") == first
    assert state_folder.client_id(tmp_path / "b") != first
