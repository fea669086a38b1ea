"""The arguments of every command, as dataclasses. No torch here: --help answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from tyro import conf

from genmeta.core.errors import UsageError
from genmeta.core.settings import EvaluationConfig, TrainConfig


@dataclass(frozen=True)
class MethodFlags:
    """Settings of the method itself.

    Attributes:
        generate: what is written for a task: rows, head (a detector's box channels too), film (norm scales
            and shifts too) or all weights.
        inner_steps: adaptation steps in meta-training.
        inner_lr: step size of adaptation (its initial value where it is learned or generated).
        first_order: drop second derivatives.
        set: any other option of the method, as NAME=VALUE; see genmeta list methods METHOD.
    """

    generate: Literal["rows", "head", "film", "all"] | None = None
    inner_steps: int | None = None
    inner_lr: float | None = None
    first_order: bool = False
    set: Annotated[tuple[str, ...], conf.UseAppendAction] = ()

    def options(self) -> dict[str, Any]:
        """Only what was given, by option name."""
        named = {f.name: getattr(self, f.name) for f in fields(MethodFlags) if f.name != "set"}
        options = {name: value for name, value in named.items() if value is not None and value is not False}
        for pair in self.set:
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise UsageError(f"--set takes NAME=VALUE, got {pair!r}.")
            options[name.replace("-", "_")] = value
        return options


@dataclass(frozen=True)
class ScenarioFlags:
    """How tasks arrive, where it is not as few-shot episodes.

    Attributes:
        scenario: few-shot; incremental (sessions of new classes); domain (a domain unseen in training); multitask
            (several visual tasks or data sets).
        hold_out: domains to keep from training and to score on, separated by commas; NAME* for all that begin so.
        labelled: tell the classes of the images that are shown of a domain.
        base_classes: classes of an incremental stream's base session.
        base_shots: images of each of them.
        sessions: further sessions, of --ways classes with --shots images each.
        new_split: split of their classes; by default that of the base session.
        memory: images of each class that the replay baseline keeps.
        streams: incremental streams to score on.
        orders: in how many orders of its sessions each stream is scored.
    """

    scenario: Literal["few-shot", "incremental", "domain", "multitask"] = "few-shot"
    hold_out: str = ""
    labelled: bool = False
    base_classes: int = 60
    base_shots: int = 15
    sessions: int = 8
    new_split: str = ""
    memory: int = 2
    streams: int = 10
    orders: int = 1

    def values(self) -> dict[str, Any]:
        """As arguments of :class:`genmeta.scenarios.protocols.Protocol`."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Train(TrainConfig):
    """Meta-train a method and leave its best checkpoint in a run directory."""

    method: Annotated[str, conf.Positional, conf.arg(metavar="METHOD")]
    options: Annotated[Mapping[str, Any], conf.Suppress] = field(default_factory=dict)
    flags: Annotated[MethodFlags, conf.OmitArgPrefixes, conf.arg(name="method")] = field(default_factory=MethodFlags)
    resume: bool = False
    """Go on with a run that was begun."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Evaluate(EvaluationConfig):
    """Score a checkpoint on a seeded list of episodes."""

    data: str
    checkpoint: Annotated[str, conf.Positional, conf.arg(metavar="CHECKPOINT")] = ""
    """Run directory, checkpoint file, or name of a shipped checkpoint."""
    protocol: Annotated[ScenarioFlags, conf.OmitArgPrefixes] = field(default_factory=ScenarioFlags)
    out: str = ""
    """Also write the JSON object to this file."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Compare:
    """Train what is missing, then score every method on the same episodes: a table, results.json and report.html."""

    methods: Annotated[tuple[str, ...], conf.Positional, conf.arg(metavar="ROW [ROW ...]")]
    """Names of methods, or run directories and checkpoints (also shipped ones, by name) to score as they are."""
    data: str
    """Data spec to train on."""
    out: str
    """Directory for the runs, results.json and report.html."""
    target: str = ""
    """Data spec to score on; by default the one trained on."""
    split: str = "test"
    """Split to score on."""
    ways: str = "5"
    """Classes of a task; where it is a range, scoring uses its lower end."""
    shots: str = "1"
    """Support images of each class; where it is a range, scoring uses its lower end."""
    queries: int = 5
    """Query images of each class."""
    steps: int = 1000
    """Meta-steps of each training."""
    tasks_per_batch: int = 16
    """Tasks of a meta-step."""
    vision: str = "classification"
    """Visual task: classification, segmentation, detection."""
    learner: str = ""
    """See genmeta list learners; by default the visual task's own."""
    width: int = 0
    """Channels of the learner's first block; 0 for its default."""
    augment: str = "none"
    """Jitter of training images: none, affine, elastic or style (random colours, the same for a task)."""
    quarter_turns: bool = False
    """Count turned training classes as classes of their own, even where the data set does not."""
    min_images: int = 0
    """Leave out classes with fewer images."""
    init: str = ""
    """Checkpoint, run or name of a shipped checkpoint whose learner weights every training starts from."""
    lr: float = 1e-3
    """Peak meta learning rate."""
    flags: Annotated[MethodFlags, conf.OmitArgPrefixes, conf.arg(name="method")] = field(default_factory=MethodFlags)
    norm: str = "group"
    """Norm of the learner: group, or batch with support statistics."""
    protocol: Annotated[ScenarioFlags, conf.OmitArgPrefixes] = field(default_factory=ScenarioFlags)
    tasks: int = 600
    """Episodes to score."""
    adapt_steps: str = "0,1,5"
    """After how many adaptation steps to score."""
    calibration_tasks: int = 0
    """Validation tasks to fit a temperature to, for scores after scaling; 0 for none."""
    seed: int = 0
    """Of training and of the list of episodes."""
    rehearse: int = 0
    """With the domain scenario, tell whether adapting helps: train every row anew without one of so many parts of its
    training domains and score it there; 0 for not."""
    seeds: str = ""
    """Seeds of training separated by commas, such as 0,1: every method is trained once with each."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""
    download: bool = False
    """Fetch the data set if it is missing."""
    on_bad_image: str = "fail"
    """fail or skip."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Demo:
    """Meta-train on printed glyphs, then learn unseen scripts and real handwritten digits from one image a class."""

    out: str = "demo"
    """Directory for the runs, results.json and report.html."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Serve:
    """A web page on this machine: show it a few images of each class, adapt, try it, download the model."""

    host: str = "127.0.0.1"
    """Address to bind to; the default reaches this machine only."""
    port: int = 7860
    """0 takes one that is free."""
    max_upload_mb: float = 20.0
    """Largest image file that is taken, in MB."""
    models: Annotated[tuple[str, ...], conf.UseAppendAction] = ()
    """A checkpoint to offer, by name or path; give it again for more. By default those that come with the package."""
    open: bool = False
    """Open the page in the default browser."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""


@dataclass(frozen=True)
class Fit:
    """Learn the classes of a folder of class folders from a few images each, into one model file."""

    folder: Annotated[str, conf.Positional, conf.arg(metavar="FOLDER")]
    """Folder (or zip) that holds <class>/<image>."""
    out: str
    """Where the model goes, such as model.safetensors."""
    model: str = "photos"
    """Checkpoint to fit: a name of genmeta list checkpoints, a path, or a Hugging Face Hub id."""
    fast: bool = False
    """Take the generated start as it is: no steps."""
    steps: int | None = None
    """Adaptation steps; by default the checkpoint's own number."""
    unknown_threshold: float | None = None
    """Say "unknown" where no class has this probability."""
    preview: str = ""
    """Where the picture of the training set goes; by default beside the model."""
    without_images: bool = False
    """Keep the training images out of the model file; classes can then not be added later."""
    seed: int = 0
    """Of what is random in fitting."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto, cpu or cuda."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Predict:
    """Classify images with a model that genmeta fit has made."""

    model: Annotated[str, conf.Positional, conf.arg(metavar="MODEL")]
    """Model file, or a Hugging Face Hub id."""
    images: Annotated[tuple[str, ...], conf.Positional, conf.arg(metavar="IMAGE [IMAGE ...]")] = ()
    """Image files, or folders of them."""
    unknown_threshold: float | None = None
    """Say "unknown" where no class has this probability."""
    top: int = 3
    """How many classes to name of each image."""
    threads: int = 0
    """CPU threads; 0 for torch's choice."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Export:
    """Write a model that genmeta fit has made as ONNX, and check that it answers the same."""

    model: Annotated[str, conf.Positional, conf.arg(metavar="MODEL")]
    """Model file, or a Hugging Face Hub id."""
    out: str
    """Where the ONNX file goes."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class List:
    """List what there is."""

    what: Annotated[
        Literal["methods", "vision", "datasets", "learners", "checkpoints"], conf.Positional, conf.arg(metavar="[WHAT]")
    ] = "methods"
    """methods, vision (which method serves which visual task), datasets, learners or checkpoints."""
    name: Annotated[str, conf.Positional, conf.arg(metavar="[NAME]")] = ""
    """One of them alone; of a method with what every option means."""
    json: bool = False
    """Print one JSON object on stdout."""


COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": Demo,
    "list": List,
    "train": Train,
    "evaluate": Evaluate,
    "compare": Compare,
    "serve": Serve,
    "fit": Fit,
    "predict": Predict,
    "export": Export,
}
