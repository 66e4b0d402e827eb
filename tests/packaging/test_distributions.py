"""The distributions: their metadata and contents, and that the wheels run where nothing else of ours is."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import environment, wait_until
from tests.helpers.services import DEADLINE

ROOT = Path(__file__).parent.parent.parent
SERVER, CLIENT = "live_support-", "live_support_client-"
FOREIGN = ("api", "live_support", "schemas", "subscriber")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source distribution of the server and of the client."""
    folder = tmp_path_factory.mktemp("dist")
    for project in (ROOT, ROOT / "clients" / "python"):
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=project, check=True)
    return folder


def wheel(built: Path, name: str) -> Path:
    (found,) = built.glob(f"{name}*.whl")
    return found


def files_of(archive: Path) -> list[str]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as files:
            return files.namelist()
    with tarfile.open(archive) as files:
        return files.getnames()


def test_the_metadata_is_complete(built: Path) -> None:
    archives = sorted(map(str, built.iterdir()))
    assert len(archives) == 4
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *archives], check=True)


def test_every_distribution_has_the_licence(built: Path) -> None:
    for archive in built.iterdir():
        assert any(name.endswith("/LICENSE") for name in files_of(archive)), archive.name


def test_a_wheel_holds_its_packages_and_nothing_else(built: Path) -> None:
    tops = {name: {file.partition("/")[0] for file in files_of(wheel(built, name))} for name in (SERVER, CLIENT)}
    for name in tops:
        tops[name] = {top for top in tops[name] if not top.endswith(".dist-info")}
    assert tops == {SERVER: {"api", "live_support", "schemas", "subscriber"}, CLIENT: {"live_support_client"}}


def test_the_source_holds_what_its_tests_need(built: Path) -> None:
    (source,) = built.glob(f"{SERVER}*.tar.gz")
    names = {name.partition("/")[2] for name in files_of(source)}
    needed = {
        "Taskfile.yml",
        "requirements.txt",
        "requirements-dev.txt",
        ".env.example",
        "benchmarks/bench.py",
        "clients/demo.py",
        "tests/conftest.py",
        "docs/protocol.md",
    }
    assert needed <= names
    assert not [name for name in names if "node_modules" in name]


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare environment with both wheels and what production is told to install, by its hashes."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is missing")
    environment = tmp_path_factory.mktemp("bare") / "venv"
    python = str(environment / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--require-hashes", "--requirement", str(ROOT / "requirements.txt")], check=True)
    subprocess.run([*install, "--no-deps", str(wheel(built, SERVER))], check=True)
    return environment


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder in which packages of the same names lie that are not ours."""
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f'raise RuntimeError("foreign {name}")\n')
    (tmp_path / "redis.py").write_text('raise RuntimeError("foreign redis")\n')
    return tmp_path


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "bin" / "live-support"), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE * 5,
        check=False,
    )


def test_the_command_is_there(installed: Path, elsewhere: Path) -> None:
    shown = run(installed, elsewhere, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "chat-server" in shown.stdout


def test_without_the_embedded_server_up_says_what_to_install(installed: Path, elsewhere: Path) -> None:
    refused = run(installed, elsewhere, "up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "live-support[embedded]" in refused.stderr


@pytest.fixture
def system(installed: Path, elsewhere: Path, redis_url: str) -> Iterator[str]:
    """What `live-support up` announces, from the bare environment in the foreign folder."""
    log = elsewhere / "up.log"
    settings = environment(REDIS_URL=redis_url, CHAT_PORT="0", SUBSCRIBER_PORT="0")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(installed / "bin" / "live-support"), "up"],
            cwd=elsewhere,
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    wait_until(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None)
    assert process.poll() is None, log.read_text()
    yield log.read_text()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0, log.read_text()


def test_the_wheel_runs_beside_foreign_packages(installed: Path, elsewhere: Path, system: str) -> None:
    chat_server, subscriber = re.findall(r"health +http://(\S+)/health", system)
    demo = elsewhere / "demo.py"
    shutil.copy(ROOT / "clients" / "demo.py", demo)
    played = subprocess.run(
        [str(installed / "bin" / "python"), "-P", str(demo), "--chat-server", chat_server, "--subscriber", subscriber],
        cwd=elsewhere,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert "ChatHistory" in played.stdout
