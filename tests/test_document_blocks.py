"""Every command and code block of the pages is run in small, or, where that takes hours, read by the real parser."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import re
import shlex
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest
import tyro
from torch.distributed.run import get_args_parser

import document_stage
from document_blocks import LANGUAGES, PAGES, REASONS, ROOT, Block, all_blocks, blocks
from genmeta.cli.commands import COMMANDS, Compare, Evaluate, Train
from genmeta.cli.main import main
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.data import DataSpec, available
from genmeta.data.domains import INFOS
from genmeta.learners import LEARNERS
from genmeta.methods import METHODS
from genmeta.methods.domain import DOMAIN_METHODS
from genmeta.tasks import Range

BLOCKS = all_blocks()
SHELL = [block for block in BLOCKS if block.language == "bash"]
CODE = [block for block in BLOCKS if block.language == "python"]
RUN = sorted({block.page for block in BLOCKS if block.run and block.language in ("bash", "python")})

#: What is put behind a command so that it takes a second; a later argument goes before an earlier one.
SMALL = {
    "train": "--steps 1 --tasks-per-batch 2 --validate-tasks 2 --width 16 --ways 3 --shots 1 --queries 2 --threads 1",
    "evaluate": "--tasks 2 --ways 3 --queries 2 --base-classes 4 --base-shots 3 --sessions 1 --streams 1 --threads 1",
    "compare": "--steps 1 --tasks-per-batch 2 --tasks 2 --width 16 --ways 3 --queries 2 --threads 1",
    "fit": "--threads 1",
    "predict": "--threads 1",
}

#: Methods with a weight bank, here of one group of tasks.
BANKS = ("maml-gan", "meta-sgd-gan", "weight-vae", "autoregressive", "diffusion")


def parsed(arguments: list[str], place: str) -> Any:
    """The command that these arguments make, by the parser of the command itself."""
    with contextlib.redirect_stderr(None):
        try:
            return tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="genmeta", args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
            )
        except SystemExit:
            pytest.fail(f"{place}: genmeta does not understand: genmeta {shlex.join(arguments)}")


def check_names(command: Any, place: str, new_methods: bool) -> None:
    """Methods, learners and data sets that a command names are there."""
    if isinstance(command, Train) and not new_methods:
        assert command.method in (*METHODS, *DOMAIN_METHODS), place
    if isinstance(command, Train | Evaluate | Compare):
        Range.parse(command.ways, "ways"), Range.parse(command.shots, "shots")
    if isinstance(command, Train | Compare) and command.learner:
        assert command.learner in LEARNERS or re.match(r"(timm|hf):.", command.learner), place
    if isinstance(command, Train | Evaluate | Compare):
        known = {info.name for info in available()} | set(INFOS)
        for spec in (command.data, getattr(command, "target", "")):
            for part in filter(None, spec.split("+")):
                assert DataSpec.parse(part).name in known, f"{place}: {part}"


def check_script(file: str, arguments: list[str], place: str) -> None:
    """A script is there and has the options that it is given."""
    path = ROOT / file
    assert path.is_file(), f"{place}: there is no {file}"
    options = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            options |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    for argument in arguments:
        if argument.startswith("--"):
            assert argument.partition("=")[0] in options, f"{place}: {file} has no {argument}"


def check_command(command: list[str], block: Block) -> None:
    """That one command of a block is right, without running it."""
    program, *rest = command
    place = f"{block.place}: {shlex.join(command)}"
    if program == "genmeta":
        check_names(parsed(rest, block.place), place, block.reason.startswith("elsewhere"))
    elif program == "srun":
        check_command(rest, block)
    elif program == "torchrun":
        get_args_parser().parse_args(["--" if word == "-m" else word for word in rest[: rest.index("--")]] + ["x"])
        check_command(rest[rest.index("--") + 1 :], block)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert all(word in targets for word in rest if "=" not in word), place
    elif program == "python":
        check_script(rest[0], rest[1:], place)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        for name in re.findall(r"genmeta\[([a-z,]+)\]", " ".join(rest)):
            assert set(name.split(",")) <= set(extras), place
    elif "=" in program and rest:
        check_command(rest, block)  # a variable of the environment goes before the command
    elif program.endswith(".sh"):
        assert (ROOT / program).is_file(), place
    else:
        assert program in ("git", "cd"), f"{place}: no test knows what {program!r} is"


def test_blocks_say_what_they_are() -> None:
    assert len(SHELL) > 20
    assert len(CODE) > 5
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block.place}: a block is one of {LANGUAGES}, not {block.language!r}"
        if block.reason:
            reason, _, file = block.reason.partition(" ")
            assert block.reason in REASONS or (reason == "elsewhere" and file), f"{block.place}: {block.reason}"
            if file and reason == "elsewhere":
                assert Path(block.page).name in (ROOT / file).read_text(encoding="utf-8"), f"{block.place}: {file}"
        if block.language == "text":
            for line in block.text.splitlines():
                assert not re.match(r"\$|(genmeta|make|python|pip|torchrun) ", line), f"{block.place} holds a command"


def test_no_command_hides_in_an_indented_block() -> None:
    for page in PAGES:
        outside = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"^ {4,}(genmeta|make|python|pip|torchrun|srun) ", outside, re.MULTILINE), page.name


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_commands_are_understood(block: Block) -> None:
    for command in dataclasses.replace(block, replace=()).commands:
        check_command(command, block)


@pytest.mark.parametrize("block", CODE, ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")


def test_the_job_of_the_cluster_is_understood() -> None:
    (block,) = (block for block in blocks(ROOT / "docs" / "scale.md") if block.language == "yaml")
    found = re.search(r"command: \[(.*?)\]", block.text, re.DOTALL)
    assert found is not None
    check_command([word.strip().strip('"') for word in found[1].split(",")], block)


@functools.cache
def flags_of(command: type) -> frozenset[str]:
    """``--tasks-per-batch`` and the rest, of a command and what is nested in it."""
    names: set[str] = set()
    for field in dataclasses.fields(command):
        names.add("--" + field.name.replace("_", "-"))
        if dataclasses.is_dataclass(field.default_factory):
            names |= flags_of(field.default_factory)  # type: ignore[arg-type]
    return frozenset(names)


#: Options of programs that are not ours, of our scripts and of pip.
FOREIGN = {"--max-restarts", "--nnodes", "--strict", "--standalone", "--nproc-per-node", "--signal", "--requeue"}


def test_commands_in_the_text_are_there() -> None:
    every = frozenset().union(*(flags_of(command) for command in COMMANDS.values()))  # type: ignore[arg-type]
    scripts = "\n".join(path.read_text(encoding="utf-8") for folder in ("tools", "benchmarks", "tests/fuzz", "examples")
                        for path in (ROOT / folder).rglob("*.py"))  # fmt: skip
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"`([^`\n]+)`", text):
            said = span.split()
            if said[0] == "genmeta" and len(said) > 1 and "|" not in span and said[1].isalpha():
                assert said[1] in COMMANDS, f"{page.name}: {span}"
                flags = flags_of(COMMANDS[said[1]])  # type: ignore[arg-type]
            elif said[0].startswith("--"):
                flags = every | FOREIGN
            else:
                continue
            for flag in re.findall(r"(?<!\S)--[a-z-]+", span):
                assert flag in flags or f'"{flag}"' in scripts, f"{page.name}: {span}"


# -- running them -----------------------------------------------------------------------------------------------------


def smaller(arguments: list[str]) -> list[str]:
    """The arguments of a command, on small data, with a small budget, and in one process."""
    small = [document_stage.stand_in(argument) for argument in arguments]
    for flag in ("--devices", "--nodes"):
        if flag in small:
            del small[small.index(flag) : small.index(flag) + 2]
    small = [argument for argument in small if argument != "--download"]
    if "--init" in small and not Path(small[small.index("--init") + 1]).exists():
        del small[small.index("--init") : small.index("--init") + 2]
    more = shlex.split(SMALL.get(small[0], ""))
    if {"scratch", "finetune"} & set(small):  # they take 50 steps, with each of several rates
        more += ["--inner-steps", "2"]
    if small[0] == "train" and small[1] in BANKS:
        more += ["--set", "bank_tasks=16", "--set", "bank_labels=3"]
    if "--hold-out" in small:
        small[small.index("--hold-out") + 1] = "sketch"
    if small[0] == "train" and "efficientnet" in shlex.join(small):
        del more[more.index("--width") : more.index("--width") + 2]
    if small[0] == "fit" and "--model" not in small:
        more += ["--model", "characters"]
    return [*small, *more]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the folders and files that the pages speak of."""
    document_stage.build(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_blocks_run(page: str, stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "page", **document_stage.names(page)}
    for block in blocks(ROOT / page):
        if not block.run:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tiny data and one step give reason for many
            if block.language == "python":
                exec(compile(block.small, block.place, "exec"), names)
            elif block.language == "bash":
                for command in block.commands:
                    if command[0] == "genmeta" and command[1:2] not in (["serve"], ["demo"]):
                        run_command(command[1:], block.place, capsys)


def run_command(arguments: list[str], place: str, capsys: pytest.CaptureFixture[str]) -> None:
    code: Any = 0
    try:
        main(smaller(arguments))
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    assert not code, f"{place}: genmeta {shlex.join(arguments)}\n{said}"


def test_the_demo_in_small(stage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from genmeta.cli import demo

    data = document_stage.STAND_INS["glyphs"]
    for name in ("maml", "meta-sgd-hn"):  # as the others, and slower
        monkeypatch.delitem(demo.METHODS, name)
    for name, settings in demo.METHODS.items():
        options = {"inner_steps": 2} if name == "scratch" else settings.get("options", {})
        monkeypatch.setitem(demo.METHODS, name, {**settings, "steps": 1, "options": options})
    monkeypatch.setattr(demo, "TARGETS", {"handwritten digits": data})
    monkeypatch.setattr(demo, "EvaluationConfig", lambda **given: EvaluationConfig(**{**given, "tasks": 2}))
    monkeypatch.setattr(demo, "TrainConfig", lambda **given: TrainConfig(**{**given, "data": data}))
    monkeypatch.setattr(demo, "STEPS", "0,1,5,50")
    monkeypatch.setattr(demo, "WIDTH", 16)
    main(["demo", "--out", "demo", "--threads", "1"])
    said = capsys.readouterr().out
    assert "handwritten digits" in said
    assert (stage / "demo" / "report.html").is_file()


def test_scripts_that_pages_name_are_there() -> None:
    for page in PAGES:
        for file in re.findall(r"`((?:tools|benchmarks|examples)/[\w/]+\.(?:py|sh))", page.read_text(encoding="utf-8")):
            assert (ROOT / file).is_file(), f"{page.name}: {file}"
