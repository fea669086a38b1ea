"""Tables of docs/methods/ and docs/faq.md: what each method scored, beside what its paper says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tables_families import averaged
from tables_files import read, table

from genmeta.methods import METHODS, list_methods

#: Columns of the Omniglot tables: ways and shots.
TASKS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1)}
RESULTS = Path(__file__).parents[1] / "results"


def entry(method: str, task: str) -> tuple[dict[str, Any], str] | None:
    """The row of a method on Omniglot tasks, and which run it is of: the main table's, else the families'."""
    for kind in ("omniglot", "families", "families-body"):
        found = read(f"{kind}-{task}")
        if method in found["methods"]:
            return averaged(found, method), kind
    return None


def score(row: dict[str, Any], step: str) -> str:
    """``97.6 ± 0.4``."""
    return f"{row['scores'][step]['accuracy']:.1f} ± {row['scores'][step]['accuracy_ci95']:.1f}"


#: Published accuracies on Omniglot, 5-way and 20-way 1-shot: paper, numbers, our method, transductive or not, the rest.
#: Backbones are four blocks of 64 channels, strided in MAML and its kin. The papers' split draws 1,200 training
#: characters from all alphabets, so that no test alphabet is new.
ANCHORS = (
    ("Prototypical networks (Snell et al., 2017)", "98.8", "96.0", "protonet", "no", "60-way training, 5 queries"),
    ("MAML (Finn et al., 2017)", "98.7", "95.8", "maml", "yes", "strided, as many queries as shots"),
    ("first-order MAML, re-implementations", "97.1", "91.0", "", "not said", "two repositories, one column each"),
    ("MAML in the ANIL paper (Raghu et al., 2020)", "–", "93.7", "maml", "yes", ""),
    ("ANIL (Raghu et al., 2020)", "–", "96.2", "anil", "yes", ""),
    ("Reptile (Nichol et al., 2018)", "95.4", "88.1", "reptile", "no", "strided"),
    ("Reptile, transductive (the same)", "97.7", "89.4", "reptile", "yes", "strided"),
    ("Meta-SGD (Li et al., 2017)", "99.5", "95.9", "meta-sgd", "yes", "one step"),
)


def anchors() -> str:
    """Published numbers, and ours of the same method after one step (closed forms: none), where it ran at length."""
    rows = []
    for paper, five, twenty, name, transductive, rest in ANCHORS:
        ours = []
        for task in ("5w1s", "20w1s"):
            found = entry(name, task) if name else None
            ours.append(score(found[0], "1") if found and found[1] == "omniglot" else "–")
        rows.append([paper, f"{five} / {twenty}", transductive, rest, *ours])
    headers = ["Published", "5w1s / 20w1s", "transductive", "further differences", "here, 5w1s", "here, 20w1s"]
    return table(headers, rows)


def measured(name: str) -> str:
    """Accuracy of a method on Omniglot, beside what is published or expected."""
    rows = []
    for task, (ways, shots) in TASKS.items():
        found = entry(name, task)
        if found:
            run = "main" if found[1] == "omniglot" else "short"
            rows.append([f"{ways}-way {shots}-shot", *[score(found[0], step) for step in ("0", "1", "5")], run])
    said = f"Published or expected: {METHODS[name].expected}."
    if not rows:
        return said + " Not measured on Omniglot here."
    return table(["Omniglot", "0 steps", "1 step", "5 steps", "run"], rows) + "\n\n" + said


def overview() -> str:
    """Every method: what it generates and adapts, and its page."""
    rows = [[f"[`{m.name}`]({m.name}.md)", m.generates, m.adapts, m.summary] for m in list_methods()]
    return table(["Method", "Generates", "Adapts", "In one sentence"], rows)


def start_or_steps() -> str:
    """Chance, one step, five: what a written start saves, on the same episodes."""
    rows = []
    for name, kind in (("scratch", "nothing"), ("maml", "learned constant"), ("meta-sgd", "learned constant, and α"),
                       ("hypernet", "written"), ("meta-sgd-hn", "written, and α")):  # fmt: skip
        row = read("omniglot-20w1s")["methods"][name]
        rows.append([f"`{name}`", kind, *[score(row, step) for step in ("0", "1", "5")]])
    return table(["Method", "start", "0 steps", "1 step", "5 steps"], rows)


def which_generator() -> str:
    """Accuracy, likelihood and calibration of the families as generated, and what training and use cost."""
    found, rows = read("families-20w1s"), []
    names = ("protonet", "hypernet", "versa", "bmaml", "anpml", "leo", "maml-gan", "weight-vae", "autoregressive",
             "diffusion")  # fmt: skip
    for name in names:
        row = averaged(found, name)
        scores, draws = row["scores"]["0"], row["scores"]["0"]["draws"]
        rows.append([
            f"`{name}`", score(row, "0"), f"{scores['nll']:.3f} ± {scores['nll_ci95']:.3f}", f"{scores['ece']:.1f}",
            f"{draws['disagreement']:.1f}" if draws else "–", f"{row['generator_parameters']:,}",
            str(row["training_steps"]),
        ])  # fmt: skip
    headers = ["Method", "accuracy, %", "NLL", "ECE, %", "draws disagree, %", "parameters of the generator"]
    return table([*headers, "meta-steps"], rows)


def shots() -> str:
    """What four more images of each class are worth."""
    rows = []
    for name, step in (("protonet", "0"), ("hypernet", "0"), ("meta-sgd-hn", "0"), ("maml", "1")):
        scores = [score(read(f"omniglot-{task}")["methods"][name], step) for task in ("5w1s", "5w5s")]
        rows.append([f"`{name}`, {step} step{'s' * (step != '1')}", *scores])
    photos = read("photos-5w")["scores"]
    for name in ("prototypes", "logistic regression", "generated, 4 steps"):
        if name in photos["1-shot"]:
            one, five = (photos[f"{n}-shot"][name]["all"]["accuracy"] for n in (1, 5))
            rows.append([f"photos: {name}", *[f"{x['mean']:.1f} ± {x['ci95']:.1f}" for x in (one, five)]])
    return table(["Row", "1 image of each of 5 classes", "5 images"], rows)


def cost() -> str:
    """Training minutes and milliseconds to adapt, of the main Omniglot table."""
    rows = []
    for name, row in read("omniglot-20w1s")["methods"].items():
        scores = row["scores"]
        rows.append([
            f"`{name}`", f"{row['training_seconds'] / 60:.0f}", f"{row['parameters']:,}",
            *[f"{scores[step]['adaptation_ms']:.0f}" for step in ("0", "1", "5")],
        ])  # fmt: skip
    headers = ["Method", "training, min", "trained numbers", "ms to a start", "ms with 1 step", "ms with 5 steps"]
    return table(headers, rows)


def training_classes() -> str:
    """Accuracy on unseen characters against the number of classes to train on."""
    found = read("training-classes")
    rows = [
        [str(row["classes"]), f"{row['accuracy']['mean']:.1f} ± {row['accuracy']['ci95']:.1f}"] for row in found["rows"]
    ]
    return table(["Training characters", "accuracy, %"], rows)


TABLES: dict[str, Callable[[], str]] = {
    **{f"measured_{m.name.replace('-', '_')}": partial(measured, m.name) for m in list_methods()},
    "overview": overview,
    "anchors": anchors,
    "start_or_steps": start_or_steps,
    "which_generator": which_generator,
    "shots": shots,
    "cost": cost,
    "training_classes": training_classes,
}
