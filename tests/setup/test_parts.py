"""Set-up on machines of all kinds: what parts.py finds, fetches, refuses and says."""

import contextlib
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import apt_prefix
import parts as real_parts
import pytest
import umqtt_sdist

from tests.work import processor_seconds_of

PROGRAMS = ["micropython64", "micropython32", "mosquitto", "influxd", "valkey"]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that has fetched nothing yet; its path has a space."""
    cache = tmp_path / "a check out" / ".cache"
    cache.mkdir(parents=True)
    monkeypatch.setattr(real_parts, "CACHE", cache)
    return cache


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on PATH counts."""
    monkeypatch.setenv(real_parts.PRIVATE_VARIABLE, "private")


@pytest.fixture
def machine_without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, private: None) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("bits", [64, 32])
def test_micropython_of_each_word_size_runs(bits: int) -> None:
    command = [*real_parts.micropython(bits), "-c", "import sys; print(sys.maxsize)"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(printed) == 2 ** (bits - 1) - 1


def test_there_is_no_micropython_of_another_word_size() -> None:
    with pytest.raises(ValueError, match="bits is 16; there is a 32-bit and a 64-bit build"):
        real_parts.micropython(16)


def test_simple2_is_a_folder_that_both_builds_can_import_from() -> None:
    environment = {**os.environ, "MICROPYPATH": str(real_parts.simple2())}
    for bits in (64, 32):
        command = [*real_parts.micropython(bits), "-c", "from umqtt.simple2 import MQTTClient; print(MQTTClient)"]
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert "MQTTClient" in printed


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_had_without_anything_of_the_systems(name: str, private: None) -> None:
    found = real_parts.ensure(name)
    assert all(real_parts.CACHE in Path(word).parents for word in found.command if not word.startswith("-"))
    assert real_parts.PROGRAMS[name].probe(list(found.command)) == found.version


@pytest.mark.parametrize("name", PROGRAMS)
def test_people_find_every_program_in_the_cache(name: str) -> None:
    version = real_parts.ensure(name).version
    wrapper = real_parts.CACHE / "bin" / name
    assert real_parts.PROGRAMS[name].probe([str(wrapper)]) == version


def test_a_checkout_can_be_moved(empty_cache: Path, private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as original:
        original.setattr(real_parts, "CACHE", real_parts.ROOT / ".cache")
        real_parts.ensure("micropython32")
    shutil.copytree(real_parts.ROOT / ".cache" / "parts" / "micropython32", empty_cache / "parts" / "micropython32")
    assert str(empty_cache) in real_parts.micropython(32)[0]
    wrapper = empty_cache / "bin" / "micropython32"
    printed = subprocess.run(
        [wrapper, "-c", "print(7 * 6)"], cwd="/", capture_output=True, text=True, check=True
    ).stdout
    assert printed == "42\n"


def test_a_second_run_fetches_nothing_and_works_for_less_than_a_second() -> None:
    command = [sys.executable, real_parts.ROOT / ".ci" / "parts.py", "all"]
    processor_seconds_of(command)
    seconds, second = processor_seconds_of(command)
    assert (second.stdout, second.stderr) == ("", "")
    assert seconds < 1.0


def test_the_list_names_every_part_with_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert real_parts.main(["--list", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(real_parts.NAMES)
    assert not any("missing" in line for line in lines)


def test_the_list_fetches_nothing(empty_cache: Path, private: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert real_parts.main(["--list"]) == 0
    assert capsys.readouterr().out.count("missing") == len(real_parts.NAMES)
    assert list(empty_cache.iterdir()) == []


def test_an_unknown_part_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        real_parts.main(["mosquito"])
    assert "no part named mosquito; there are micropython64, micropython32, mosquitto" in capsys.readouterr().err


def test_half_a_prefix_does_not_count_as_there(empty_cache: Path, private: None) -> None:
    half = empty_cache / "parts" / "micropython32" / "usr" / "bin"
    half.mkdir(parents=True)
    (half / "micropython").touch()
    assert real_parts.locate("micropython32") is None


def test_a_prefix_of_an_older_recipe_is_fetched_anew(empty_cache: Path, private: None) -> None:
    prefix = empty_cache / "parts" / "mosquitto"
    prefix.mkdir(parents=True)
    (prefix / "part.json").write_text('{"recipe": 0, "version": "2.0", "origin": "", "launcher": []}')
    assert real_parts.locate("mosquitto") is None


def test_a_failed_fetch_leaves_nothing_behind(empty_cache: Path, machine_without_apt: None) -> None:
    with pytest.raises(real_parts.PartError):
        real_parts.ensure("mosquitto")
    assert [path.name for path in empty_cache.iterdir()] == ["parts.lock"]


def test_a_mirror_out_of_reach_is_said_in_apts_own_words(
    empty_cache: Path, private: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTETRACE_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    with pytest.raises(real_parts.PartError, match=r"127\.0\.0\.1:1(?s:.*)Get it with: .*install influxdb"):
        real_parts.ensure("influxd")
    assert not (empty_cache / "parts").exists()


class _StumblingMirror(http.server.BaseHTTPRequestHandler):
    """The machine's own mirror, except that the first package index it gives is not the one its Release file names."""

    real = ""
    stumbled: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        with urllib.request.urlopen(self.real + self.path, timeout=30) as answer:
            body = answer.read()
        if "/binary-" in self.path and not self.stumbled:
            self.stumbled.append(self.path)
            body += b"of another day"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_a_mirror_that_contradicts_itself_is_asked_again(
    empty_cache: Path, private: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apt_prefix, "UPDATE_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(_StumblingMirror, "real", apt_prefix.apt_sources.choose().uri)
    monkeypatch.setattr(_StumblingMirror, "stumbled", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _StumblingMirror) as mirror:
        threading.Thread(target=mirror.serve_forever, daemon=True).start()
        monkeypatch.setenv("MOTETRACE_DEBIAN_MIRROR", f"http://127.0.0.1:{mirror.server_port}")
        try:
            assert real_parts.ensure("influxd").version.startswith("1.")
        finally:
            mirror.shutdown()
    assert _StumblingMirror.stumbled
    assert "the mirror contradicts itself just now, trying again in 0 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("micropython64", "brew install micropython\n"),
        ("micropython32", "docker run --rm -it --platform linux/amd64"),
        ("mosquitto", "brew install mosquitto\n"),
        ("influxd", "brew install influxdb@1\n"),
        ("valkey", "brew install valkey\n"),
    ],
)
def test_a_mac_is_told_the_exact_command_and_what_needs_it(
    name: str, command: str, empty_cache: Path, machine_without_apt: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(real_parts.PartError) as refusal:
        real_parts.ensure(name)
    assert command in str(refusal.value)
    assert "Needed by: make demo, make test" in str(refusal.value)


def test_one_part_that_cannot_be_had_does_not_keep_the_others_away(
    empty_cache: Path, machine_without_apt: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert real_parts.main(["mosquitto", "simple2"]) == 1
    assert "mosquitto cannot be had here" in capsys.readouterr().err
    assert (real_parts.simple2() / "umqtt" / "simple2.py").is_file()


@pytest.mark.parametrize(
    ("name", "program", "says", "reason"),
    [
        ("influxd", "influxd", "InfluxDB v2.7.1", "is not InfluxDB 1.x"),
        ("valkey", "redis-server", "Redis server v=5.0.14 sha=00000000:0 malloc=libc", "is Redis 5.0.14, and 7.0 is"),
        ("valkey", "valkey-server", "Dragonfly v1.2", "is neither Valkey nor Redis"),
        ("valkey", "valkey-server", "Valkey server v=unstable sha=0", "is neither Valkey nor Redis"),
    ],
)
def test_a_program_on_path_that_is_not_the_right_one_is_passed_over_with_the_reason(
    name: str, program: str, says: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = tmp_path / program
    impostor.write_text(f"#!/bin/sh\necho {says}\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(real_parts.PRIVATE_VARIABLE, raising=False)
    assert reason in real_parts._why_fetched(real_parts.PROGRAMS[name])
    assert real_parts.ensure(name).command != (str(impostor),)


@pytest.mark.parametrize("says", ["Valkey server v=8.1.1 sha=00000000:0", "Redis server v=7.0.15 sha=00000000:0"])
def test_valkey_and_redis_both_do(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / f"{says.split()[0].lower()}-server"
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(real_parts, "EXTRA_FOLDERS", ())
    monkeypatch.delenv(real_parts.PRIVATE_VARIABLE, raising=False)
    found = real_parts.locate("valkey")
    assert found is not None
    assert (found.command, found.version) == ((str(program),), says.split("v=")[1].split()[0])


def test_a_distribution_with_another_sha256_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "micropython-umqtt.simple2-2.2.0.tar.gz"
    with tarfile.open(archive, "w:gz") as forged:
        member = tarfile.TarInfo("micropython-umqtt.simple2-2.2.0/umqtt/simple2.py")
        forged.addfile(member, io.BytesIO(b""))
    monkeypatch.setattr(umqtt_sdist, "_download", lambda *_: archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(real_parts.UnsuitableError, match=f"has sha256 {digest}, expected {umqtt_sdist.SHA256}"):
        umqtt_sdist.fetch(tmp_path, tmp_path)


def test_runs_side_by_side_fetch_once(empty_cache: Path, private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    fetch = real_parts._fetch

    def counted(name: str) -> real_parts.Found:
        fetched.append(name)
        return fetch(name)

    monkeypatch.setattr(real_parts, "_fetch", counted)
    runs = [threading.Thread(target=real_parts.ensure, args=["simple2"]) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert fetched == ["simple2"]
    assert (real_parts.simple2() / "umqtt" / "simple2.py").is_file()


def ordinary_user() -> tuple[str, dict[str, int]]:
    """A Python, and as whom to run it: `nobody` where this is root and some Python here lies open to everybody."""
    own = getattr(sys, "_base_executable", sys.executable)
    if os.geteuid() != 0:
        return own, {}
    nobody = {"user": 65534, "group": 65534}
    for python in (own, "/usr/local/bin/python3", "/usr/bin/python3"):
        command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        with contextlib.suppress(OSError):
            if subprocess.run(command, cwd="/", check=False, **nobody).returncode == 0:
                return python, nobody
    return own, {}


@pytest.fixture
def folder_of_everybody() -> Iterator[Path]:
    """Not tmp_path: that lies in a folder only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="motetrace-user-"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_an_ordinary_user_gets_a_part_into_an_empty_cache(folder_of_everybody: Path) -> None:
    python, identity = ordinary_user()
    shutil.copytree(real_parts.ROOT / ".ci", folder_of_everybody / ".ci")
    if identity:
        for path in (folder_of_everybody, *folder_of_everybody.rglob("*")):
            os.chown(path, identity["user"], identity["group"])
    how = {"env": {**os.environ, "HOME": "/nonexistent"}, "cwd": folder_of_everybody, "text": True, **identity}
    command = [python, folder_of_everybody / ".ci" / "parts.py", "--private", "micropython32"]
    fetched = subprocess.run(command, capture_output=True, check=False, **how)
    assert fetched.returncode == 0, fetched.stderr
    first, *_, last = fetched.stderr.splitlines()
    assert first.startswith("micropython32: fetching package micropython of ")
    assert last.startswith("micropython32: 1.")
    wrapper = folder_of_everybody / ".cache" / "bin" / "micropython32"
    assert subprocess.run([wrapper, "-c", "print(1)"], capture_output=True, check=True, **how).stdout == "1\n"
