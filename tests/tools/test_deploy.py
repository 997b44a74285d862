"""The files in deploy/ do what they say: read by the tools that they are for, and run in the demo's world."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from chatsync.demo_world import write_world
from tests.harness.job import RECORDS, Job
from tests.harness.servers import SEARCHED

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAM = Path(sys.executable).parent / "chatsync"
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))
UNITS = sorted((DEPLOY / "systemd").iterdir())
MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((DEPLOY / "kubernetes" / "cronjob.yaml").read_text(encoding="utf-8"))
)
CRON_JOBS = [manifest for manifest in MANIFESTS if manifest["kind"] == "CronJob"]
SHELLS = ["bash", "zsh", "fish"]


def done(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False, **options)


def run_chain(folder: Path, steps: Sequence[Sequence[str]]) -> list[int]:
    """Run steps in the demo's world as systemd or Kubernetes does: each only if the one before it ended with 0."""
    codes = []
    for step in steps:
        result = done(PROGRAM, *step, env=os.environ | {"CHATSYNC_CONFIG": str(folder / "demo" / "chatsync.toml")})
        codes.append(result.returncode)
        if result.returncode:
            break
    return codes


def off(folder: Path) -> int:
    count = 0
    for number in range(1, 5):
        with closing(sqlite3.connect(folder / "demo" / f"shard{number}.db")) as shard:
            query = "SELECT count(*) FROM clients_features WHERE feature_id = 217 AND is_enabled = 0"
            count += shard.execute(query).fetchone()[0]
    return count


@pytest.mark.programs
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/chatsync", str(PROGRAM))
        (tmp_path / unit.name).write_text(text.replace("User=chatsync", "User=daemon").replace("Group=chatsync", ""))

    result = done("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir()))

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.programs
@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_is_little_exposed(service: Path) -> None:
    result = done("systemd-analyze", "security", "--offline=yes", "--threshold=20", service)

    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert exposure
    assert (result.returncode, float(exposure[1]) <= 2) == (0, True)


def test_each_timer_has_its_service() -> None:
    assert {unit.stem for unit in UNITS if unit.suffix == ".timer"} == {unit.stem for unit in SERVICES}
    assert len({unit.read_text(encoding="utf-8").split("ExecStart=")[2] for unit in SERVICES}) == len(SERVICES)


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
@pytest.mark.slow
def test_a_service_is_the_chain_without_a_shell(service: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "demo")
    lines = re.findall(r"^ExecStart=/usr/bin/chatsync (.+)$", service.read_text(encoding="utf-8"), re.MULTILINE)
    steps = [shlex.split(line.replace("/var/lib/chatsync", str(tmp_path))) for line in lines]
    before = off(tmp_path)

    assert run_chain(tmp_path, steps) == [0, 0, 0]
    assert off(tmp_path) == before + 57 - 31
    assert run_chain(tmp_path, steps) == [0, 0, 0]
    assert ["--if-modified" in step for step in steps] == [service.stem == "chatsync", False, False]


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}"
)
def test_kubernetes_takes_the_manifests(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("job", CRON_JOBS, ids=lambda job: job["metadata"]["name"])
@pytest.mark.slow
def test_a_cron_job_is_the_chain(job: dict[str, Any], tmp_path: Path) -> None:
    write_world(tmp_path / "demo")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    steps = [container["args"] for container in [*pod.get("initContainers", []), *pod["containers"]]]
    here = [[word.replace("/run/plan", str(tmp_path)) for word in step] for step in steps]
    before = off(tmp_path)

    assert run_chain(tmp_path, here) == [0] * len(steps)
    assert off(tmp_path) == before + 57 - 31
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert len(steps) == (3 if job["metadata"]["name"] == "chatsync" else 1)


@pytest.mark.parametrize("job", CRON_JOBS, ids=lambda job: job["metadata"]["name"])
def test_a_cron_job_mounts_what_it_names(job: dict[str, Any]) -> None:
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    containers = [*pod.get("initContainers", []), *pod["containers"]]

    for container in containers:
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert values("USER") == [f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Containerfile with what they are given, continued lines as one."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    return [(name, words) for name, words in lines]


def values(name: str) -> list[str]:
    return [words for instruction, words in instructions() if instruction == name]


def test_the_image_copies_what_is_there_and_not_ignored() -> None:
    root = DEPLOY.parent
    sent = {line[1:] for line in (root / ".containerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    copied = [word for words in values("COPY") if "--from" not in words for word in words.split()[:-1]]

    assert [path for path in copied if not (root / path).exists()] == []
    assert [path for path in copied if not any(Path(path).is_relative_to(kept) for kept in sent)] == []


def test_the_image_is_built_on_any_base_and_runs_the_program_as_a_user_without_rights() -> None:
    assert values("ARG")[0].startswith("BASE=")
    assert {words.split()[0] for words in values("FROM")} == {"${BASE}"}
    assert values("USER") == ["10001:10001"]
    health = re.search(r"CMD (\[.*\])$", values("HEALTHCHECK")[0])
    assert health
    for arguments in (json.loads(health[1])[1:], json.loads(values("CMD")[0])):
        assert done(PROGRAM, *arguments, "--help").returncode == 0
    assert [json.loads(health[1])[:1], json.loads(values("ENTRYPOINT")[0])] == [["chatsync"]] * 2


@pytest.mark.parametrize("number", range(len(values("RUN"))))
def test_a_shell_can_read_the_steps_of_the_image(number: int) -> None:
    assert done("sh", "-n", "-c", values("RUN")[number]).returncode == 0


@pytest.mark.programs
def test_the_image_is_built_with_pip_s_index_also_if_the_machine_s_python_has_no_pip(tmp_path: Path) -> None:
    """As on a Debian with python3-venv and without python3-pip: only the virtual environment has it."""
    buildah = """#!/bin/sh
        [ "$1" = build ] || exit 0
        for argument; do case $argument in *:/etc/pip.conf:ro) cp "${argument%%:*}" "$KEPT";; esac; done
        exit 7
    """
    for name, text in {"buildah": buildah, "python3": f'#!/bin/sh\nexec {sys.executable} -S "$@"\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PIP_INDEX_URL": "https://pypi.example/simple"}
    kept = tmp_path / "pip.conf"

    built = done(DEPLOY / "image.sh", PROGRAM.parent, env=os.environ | settings | {"KEPT": str(kept)})

    assert built.returncode == 7, built.stderr
    assert "index-url = https://pypi.example/simple" in kept.read_text()


@pytest.mark.programs
def test_logrotate_takes_the_file(tmp_path: Path) -> None:
    log = tmp_path / "chatsync.log"
    log.write_text("x" * 1000)
    rules = tmp_path / "rules"
    text = (DEPLOY / "logrotate").read_text(encoding="utf-8").replace("/var/log/chatsync", str(tmp_path))
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    rules.write_text(text.replace("chatsync chatsync", f"{user} {group}").replace("weekly", "size 1"))
    rules.chmod(0o644)

    logrotate = shutil.which("logrotate", path=SEARCHED)  # in /usr/sbin, where an ordinary user's PATH does not lead

    result = done(logrotate, "-d", "-s", tmp_path / "state", rules)

    assert result.returncode == 0
    assert "error" not in result.stderr.lower()
    assert f"considering log {log}" in result.stderr


def completion(shell: str, folder: Path) -> Path:
    script = folder / f"chatsync.{shell}"
    result = done(PROGRAM, env=os.environ | {"_CHATSYNC_COMPLETE": f"{shell}_source"})
    assert (result.returncode, result.stderr) == (0, "")
    script.write_text(result.stdout, encoding="utf-8")
    return script


def completed(job: Job, words: str) -> list[str]:
    """Ask the program as a shell's script does, with the cursor after `words`."""
    environment = {
        "_CHATSYNC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "CHATSYNC_CONFIG": str(job.config),
    }
    result = done(PROGRAM, env=os.environ | environment)
    assert (result.returncode, result.stderr) == (0, "")
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


@pytest.fixture
def recorded(job: Job) -> Job:
    """A job with one run that was recorded."""
    job.configure(records=RECORDS, metrics={"textfile": "chatsync.prom"})
    job.settle({1: 1})
    job.list([1])
    assert job.run("sync").code == 0
    return job


@pytest.mark.slow
def test_completion_knows_commands_options_and_runs(recorded: Job) -> None:
    (run,) = [path.stem for path in recorded.records_folder.glob("*.json")]
    before = (recorded.folder / "chatsync.prom").read_bytes()

    assert completed(recorded, "chatsync set") == ["set-modtime"]
    assert "--undo" in completed(recorded, "chatsync apply --")
    assert completed(recorded, "chatsync apply --undo ") == [run]
    assert completed(recorded, f"chatsync apply --undo {run[:6]}") == [run]
    assert completed(recorded, "chatsync apply --undo x") == []
    assert completed(recorded, "chatsync config ") == ["example", "show"]
    assert (recorded.folder / "chatsync.prom").read_bytes() == before, "completing a command is no run of it"


def test_completion_is_silent_where_the_records_cannot_be_read(job: Job) -> None:
    job.config.write_text("nonsense")

    assert completed(job, "chatsync apply --undo ") == []


@pytest.mark.programs
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_the_run(recorded: Job, shell: str) -> None:
    (run,) = [path.stem for path in recorded.records_folder.glob("*.json")]
    script = completion(shell, recorded.folder)
    ask = {
        "bash": f"source {script}; COMP_WORDS=(chatsync apply --undo ''); COMP_CWORD=3; _chatsync_completion chatsync; "
        'echo "${COMPREPLY[@]}"',
        "fish": f"source {script}; complete -C 'chatsync apply --undo '",
        "zsh": f"autoload -U compinit; compinit -u -d {recorded.folder}/dump; compadd() {{ print -- $completions }}; "
        f"_describe() {{ :; }}; source {script}; words=(chatsync apply --undo ''); CURRENT=4; _chatsync_completion",
    }
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CHATSYNC_CONFIG": str(recorded.config), "HOME": str(recorded.folder)}
    quick = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]

    result = done(shell, *quick, "-c", ask[shell], env=environment)

    assert run in result.stdout, result.stderr


def test_every_command_has_a_manual_page(tmp_path: Path) -> None:
    result = done(sys.executable, DEPLOY / "man_pages.py", tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    pages = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert {"chatsync.1", "chatsync-diff.1", "chatsync-set-modtime.1", "chatsync-config-show.1"} <= set(pages)
    assert all(text.startswith(".TH ") for text in pages.values())
    assert [name for name, text in pages.items() if re.search(r"^chatsync\S* \\- .*\.\.\.$", text, re.MULTILINE)] == []
    assert "chatsync-set-modtime(1)" in pages["chatsync.1"].replace("\\-", "-")
    assert "--if-modified" in pages["chatsync-diff.1"].replace("\\-", "-")


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_valid(script: Path) -> None:
    assert done("bash", "-n", script).returncode == 0


def test_no_registry_is_named() -> None:
    for file in (path for path in DEPLOY.rglob("*") if path.is_file()):
        assert not re.search(
            r"docker\.io|quay\.io|ghcr\.io|gcr\.io|pypi\.org|--index-url", file.read_text(), re.IGNORECASE
        )
