"""What people install and paste: the Dockerfile in a clean venv, the README's commands, the greeting."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.served import ROOT, Served, serving, waited

_OFFLINE = re.compile(
    r"NewConnectionError|name resolution|No matching distribution|timed out|unreachable", re.I
)


@dataclass(frozen=True)
class Image:
    """The Dockerfile carried out below a folder instead of `/`. `command` is ENTRYPOINT and CMD."""

    root: Path
    environment: dict[str, str]
    health: list[str]
    command: list[str]

    @property
    def dragoman(self) -> str:
        found = shutil.which(self.command[0], path=self.environment["PATH"])
        assert found is not None
        assert Path(found).is_relative_to(self.root)
        return found

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.dragoman, *arguments],
            cwd=cwd,
            env=_clean({"PATH": self.environment["PATH"]}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _clean(more: dict[str, str]) -> dict[str, str]:
    dropped = ("DRAGOMAN_", "GEMINI_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)} | more


def _steps() -> list[tuple[str, str]]:
    """(word, rest) of each step; lines that end with a backslash go on."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word
    ]


def _copy(source: Path, target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    if source.is_dir():
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _install(command: str, root: Path, folder: Path) -> None:
    """A RUN of the first stage."""
    moved = command.replace("/opt/", f"{root}/opt/").replace("python3", shlex.quote(sys.executable), 1)
    done = subprocess.run(
        ["/bin/sh", "-ec", moved],
        cwd=folder,
        env=_clean({"PIP_NO_COMPILE": "1"}),  # half of the time; whatever is used is compiled then
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and _OFFLINE.search(done.stdout + done.stderr):
        pytest.skip("packages cannot be fetched from here")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("image")
    folder = root
    environment: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    stage = 0
    for word, rest in _steps():
        if word == "FROM":
            stage += 1
        elif word == "WORKDIR":
            folder = root / rest.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                place = folder / target if not target.startswith("/") else root / target.lstrip("/")
                _copy(ROOT / source, place / source if target.endswith("/") else place)
        elif word == "RUN" and stage == 1:
            _install(rest, root, folder)
        elif word == "ENV":
            pairs = (pair.partition("=") for pair in rest.split())
            environment |= {name: value for name, _, value in pairs}
        elif word in ("HEALTHCHECK", "ENTRYPOINT", "CMD"):
            found[word] = json.loads(rest[rest.index("[") :])
    environment = {
        name: value.replace("/opt/", f"{root}/opt/")
        .replace("/etc/", f"{root}/etc/")
        .replace("$PATH", os.environ["PATH"])
        for name, value in environment.items()
    }
    return Image(root, environment, found["HEALTHCHECK"], [*found["ENTRYPOINT"], *found["CMD"]])


def test_the_dockerfile_gives_a_command_that_works_and_serves(image: Image, tmp_path: Path) -> None:
    """In one test, because the install takes a quarter of a minute."""
    _works(image, tmp_path)
    _serves(image, tmp_path)


def _works(image: Image, tmp_path: Path) -> None:
    """From a folder where nothing lies, so the configuration is the packaged one."""
    python = Path(image.dragoman).with_name("python3")
    extras = "import cryptography, lameenc, PIL, psycopg, redis"
    subprocess.run([python, "-c", extras], cwd=tmp_path, env=_clean({}), timeout=30, check=True)
    version = image.run("version", cwd=tmp_path)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (version.returncode, version.stdout) == (0, f"{project['version']}\n")
    check = image.run("check", cwd=tmp_path)
    assert check.returncode == 0, check.stdout
    assert "models" in check.stderr
    models = json.loads(image.run("models", "--json", cwd=tmp_path).stdout)
    assert "gemini-flash" in [model["model"] for model in models]
    answer = image.run("try", "gemini-flash", "Say hello", "--simulate", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "Say hello" in answer.stdout


def _serves(image: Image, tmp_path: Path) -> None:
    """ENTRYPOINT and a command of one's own, on a free port."""
    assert image.command[1:] == ["serve"]
    environment = {**image.environment, "DRAGOMAN_KEY": "sk-image", "PYTHONPATH": ""}
    (tmp_path / "stdout").touch()
    arguments = ["serve", "--port", "0", "--simulate"]  # as behind `docker run IMAGE`
    with (
        (tmp_path / "stderr").open("wb") as err,
        subprocess.Popen(
            [image.dragoman, *arguments], cwd=tmp_path, env=_clean(environment), stdout=err, stderr=err
        ) as process,
    ):
        try:
            greeting = waited(
                lambda: re.search(r"http://127\.0\.0\.1:(\d+)/v1", (tmp_path / "stderr").read_text())
            )
            port = greeting[1]
            assert httpx.get(f"http://127.0.0.2:{port}/livez").status_code == 200  # so on every address
            health = [word.replace(":8080/", f":{port}/") for word in image.health]
            assert health != image.health
            subprocess.run(health, env=_clean(image.environment), timeout=10, check=True)
            reply = httpx.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json={"model": "gemini-flash", "messages": [{"role": "user", "content": "Say hello"}]},
                headers={"authorization": "Bearer sk-image"},
            )
            assert "Say hello" in reply.json()["choices"][0]["message"]["content"]
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_the_image_is_not_roots_and_keeps_its_state_where_its_user_may_write() -> None:
    steps = dict(_steps())
    stages = [rest for word, rest in _steps() if word == "RUN"]
    assert f"--uid {steps['USER']} " in stages[-1]
    assert f"-o dragoman -g dragoman -m 0700 {steps['VOLUME']}" in stages[-1]
    assert Path(steps["VOLUME"]).parent == Path(steps["WORKDIR"])  # ./state of the shipped file
    assert steps["EXPOSE"] == "8080"


def test_the_readme_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/dragoman serve --simulate" in lines
    assert "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest" in lines


@pytest.fixture
def greeting(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    with serving(tmp_path, (ROOT / "providers.yaml").read_text(), "--simulate") as served:
        yield served, waited(lambda: served.out.read_text())


def test_the_printed_curl_line_works_as_pasted(greeting: tuple[Served, str], tmp_path: Path) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl or bash is not here")
    found = re.search(r"^curl .*?(?=\n\n)", greeting[1], re.M | re.S)
    assert found is not None
    done = subprocess.run(
        ["bash", "-ec", found[0]], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert "Say hello" in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_printed_python_works_as_pasted(greeting: tuple[Served, str], tmp_path: Path) -> None:
    snippet = greeting[1][greeting[1].index("from openai import") :]
    done = subprocess.run(
        [sys.executable, "-"],
        input=snippet,
        cwd=tmp_path,
        env=_clean({}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "Say hello" in done.stdout
