"""The pictures of docs/gallery.md, from result files and trained runs: ``python tools/gallery.py --runs RUNS``.

RUNS holds run directories by method, as ``tools/families.py`` leaves them: versa, maml-gan, diffusion, weight-vae,
bmaml, protonet, hypernet; ``--filters RUN`` is a run of ``hypernet --generate all``. Each picture is skipped, and said,
where what it needs is absent. What was drawn, from what, goes to docs/pictures/gallery.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Context, Task
from genmeta.data import open_dataset
from genmeta.engine import evaluate, load
from genmeta.engine.evaluation import episodes
from genmeta.methods import MetaLearner
from genmeta.reports import calibration_curves
from genmeta.scenarios import provenance
from genmeta.tasks import ClassificationTasks

ROOT = Path(__file__).parents[1]
COLOURS = ("#4053d3", "#ddb310", "#b51d14", "#00a17d", "#8e4ec6", "#666666", "#00beff")
DRAWS = 60


class Gallery:
    """Draws what it has the runs for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.runs, self.out, self.options = Path(options.runs), Path(options.out), options
        self.made: dict[str, Any] = {}
        self.tasks = ClassificationTasks(open_dataset(options.data), "test", ways=5, shots=1, queries=10)

    def model(self, name: str) -> MetaLearner:
        """The meta-learner of a run."""
        return load(self.runs / name).meta_learner.eval()

    def task(self, number: int) -> Task:
        """One episode of the list."""
        return episodes(self.tasks, number, number + 1, 0)

    def save(self, figure: Figure, name: str, **about: Any) -> None:
        """Writes the picture and notes what made it."""
        figure.set_facecolor("#ffffff")
        figure.savefig(self.out / f"{name}.png", dpi=100, bbox_inches="tight")
        said = provenance()
        command = f"python tools/gallery.py {shlex.join(sys.argv[1:])}"
        self.made[name] = {**about, "command": command, "commit": said["commit"], "date": said["date"]}

    def first(self) -> None:
        """The picture of the README: a few labelled images, the rows that are written, the answers they give."""
        it = load(ROOT / "src" / "genmeta" / "checkpoints" / "characters.safetensors").meta_learner.eval()
        tasks = ClassificationTasks(open_dataset("digits"), "test", ways=4, shots=3, queries=1)
        task = tasks.sample(1, rng=seeded("first"))
        with torch.no_grad():
            rows = it.start(task.support, 4, seeded(0)).weights[ROWS][0]
            answers = it.answers(task, 0, seeded(0))[0][0][0].softmax(-1)
        names = [tasks.class_name(int(k)).rsplit("/", 1)[-1] for k in task.class_ids[0]]
        figure = Figure(figsize=(9, 2.7))
        parts = figure.subfigures(1, 3, width_ratios=(3, 4, 4), wspace=0.08)
        shown = parts[0].subplots(3, 4)
        for k in range(4):
            mine = (task.support.labels[0] == k).nonzero()[:, 0]
            for n in range(3):
                shown[n, k].imshow(-task.support.images[0, mine[n], 0].numpy(), cmap="gray")
                shown[n, k].set_axis_off()
        parts[0].suptitle("12 labelled images", fontsize=10)
        axes = parts[1].subplots()
        most = float(rows[:, :-1].abs().max())
        axes.imshow(rows[:, :-1].numpy(), cmap="coolwarm", vmin=-most, vmax=most, aspect="auto", interpolation="none")
        axes.set(yticks=range(4), xticks=[])
        axes.set_yticklabels([f"row of {name}" for name in names], fontsize=8)
        parts[1].suptitle("→  written weights, one row a class", fontsize=10)
        asked = parts[2].subplots(2, 4, height_ratios=(3, 2))
        for n in range(4):
            asked[0, n].imshow(-task.query.images[0, n, 0].numpy(), cmap="gray")
            asked[0, n].set_axis_off()
            asked[1, n].bar(range(4), answers[n].numpy(), color=[COLOURS[0] if k == int(answers[n].argmax()) else
                            "#bbbbbb" for k in range(4)])  # fmt: skip
            asked[1, n].set(ylim=(0, 1), yticks=[], xticks=range(4))
            asked[1, n].set_xticklabels(names, fontsize=7)
        parts[2].suptitle("→  answers for new images", fontsize=10)
        right = float((answers.argmax(-1) == task.query.labels[0]).double().mean())
        self.save(figure, "first", checkpoint="characters", data="digits", right=right)

    # -- from result files ------------------------------------------------------------------------------------------

    def steps(self) -> None:
        """Accuracy against adaptation steps."""
        found = json.loads((ROOT / "results" / "omniglot-20w1s" / "results.json").read_text(encoding="utf-8"))
        figure = Figure(figsize=(7, 3.6))
        axes = figure.add_subplot()
        for colour, (name, row) in zip(COLOURS, found["methods"].items(), strict=False):
            at = sorted(row["scores"], key=int)
            means = np.array([row["scores"][step]["accuracy"] for step in at])
            half = np.array([row["scores"][step]["accuracy_ci95"] for step in at])
            x = np.log1p([int(step) for step in at])
            axes.plot(x, means, "o-", color=colour, label=name, linewidth=1.5, markersize=4)
            axes.fill_between(x, means - half, means + half, color=colour, alpha=0.2, linewidth=0)
        axes.set_xticks(np.log1p([0, 1, 5]), ["0", "1", "5"])
        axes.set(xlabel="adaptation steps", ylabel="accuracy, %", ylim=(0, 101))
        axes.legend(frameon=False, fontsize=8)
        self.save(figure, "gallery-steps", source="results/omniglot-20w1s/results.json", episodes=600)

    # -- from runs --------------------------------------------------------------------------------------------------

    def calibration(self) -> None:
        """Reliability of one answer by several methods."""
        names = ("protonet", "hypernet", "maml-gan", "diffusion")
        n = self.options.tasks
        scores = {name: evaluate(self.model(name), self.tasks, n_tasks=n, steps=(0,), time_tasks=1) for name in names}
        picture = calibration_curves(scores)
        if isinstance(picture.image, Figure):
            self.save(picture.image, "gallery-calibration", runs=names, tasks=n, data=self.options.data)

    def draws(self) -> None:
        """Rows that several generators draw for one task, in two principal directions."""
        names = ("versa", "bmaml", "maml-gan", "diffusion")
        figure = Figure(figsize=(10, 2.9), layout="constrained")
        task, noted = self.task(0), {}
        for at, name in enumerate(names):
            it = self.model(name)
            draws = it.samples if name == "bmaml" else DRAWS
            with torch.no_grad():
                rows = it.start(task.support, task.ways, seeded("draws"), samples=draws).weights[ROWS]
                outputs, *_ = it.answers(task, 0, seeded("draws"), samples=draws)
                each = outputs[0].argmax(-1) == task.query.labels.repeat(draws, 1)
            rows = rows - rows.mean(1, keepdim=True)  # what is added to all rows alike does not change an answer
            flat = rows.flatten(0, 1)
            _, _, directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
            points = (rows @ directions[:2].T).numpy()
            axes = figure.add_subplot(1, len(names), at + 1)
            for k in range(task.ways):
                axes.scatter(points[:, k, 0], points[:, k, 1], s=7, color=COLOURS[k], alpha=0.6, linewidths=0)
            right = each.double().mean(-1)
            noted[name] = [round(float(right.mean()), 3), round(float(right.std()), 3)]
            axes.set_title(f"{name}: {draws} draws", fontsize=9)
            axes.set(xticks=[], yticks=[])
        self.save(figure, "gallery-draws", runs=names, data=self.options.data, accuracy_of_draws=noted)

    def walk(self) -> None:
        """From one task to another through the latent space, and by mixing rows."""
        it = self.model("weight-vae")
        first, second = self.task(1), self.task(2)
        generator, encoder = it.row_generator, it.encoder
        if generator is None or encoder is None:
            raise SystemExit("weight-vae has no generator of rows")
        ends, bases = [], []
        with torch.no_grad():
            for task in (first, second):
                features, _ = it.learner.features(task.support.images)
                tokens = it.vision.tokens(features, task.support.targets, task.ways)
                context: Context = encoder(tokens)
                ends.append(context.classes[0])
                bases.append(it.row_base(tokens)[0])
            shares = np.linspace(0, 1, 21)
            curves: dict[str, list[list[float]]] = {"codes": [[], []], "rows": [[], []]}
            written = []
            for end in ends:
                prior = generator.prior(end).chunk(2, -1)[0]  # type: ignore[operator,union-attr]
                written.append((prior, generator.restore(generator._decode(prior, end))))  # type: ignore[operator]
            for share in shares:
                context_there = (1 - share) * ends[0] + share * ends[1]
                code = (1 - share) * written[0][0] + share * written[1][0]
                base = (1 - share) * bases[0] + share * bases[1]
                through = generator.restore(generator._decode(code, context_there))  # type: ignore[operator]
                mixed = (1 - share) * written[0][1] + share * written[1][1]
                for kind, values in (("codes", through), ("rows", mixed)):
                    rows = base + it.row_scale * values
                    for at, task in enumerate((first, second)):
                        features, _ = it.learner.features(task.query.images)
                        said = it.vision.outputs(features, rows[None]).argmax(-1)
                        curves[kind][at].append(100 * float((said == task.query.labels).double().mean()))
        figure = Figure(figsize=(7, 3))
        axes = figure.add_subplot()
        for kind, style in (("codes", "-"), ("rows", ":")):
            for at, name in enumerate(("first task", "second task")):
                axes.plot(shares, curves[kind][at], style, color=COLOURS[2 * at], label=f"{name}, mixing {kind}")
        axes.set(xlabel="share of the second task", ylabel="accuracy, %", ylim=(0, 101))
        axes.legend(frameon=False, fontsize=8)
        self.save(figure, "gallery-walk", runs=["weight-vae"], data=self.options.data, curves=curves)

    def denoising(self) -> None:
        """A classifier coming out of noise: its rows and its accuracy, step by step."""
        it = self.model("diffusion")
        task = self.task(0)
        with torch.no_grad():
            features, _ = it.learner.features(task.support.images)
            tokens = it.vision.tokens(features, task.support.targets, task.ways)
            base = it.row_base(tokens)
            gradient = it.row_gradient(features, task.support.targets, base)
            if it.encoder is None or it.row_generator is None:
                raise SystemExit("diffusion has no generator of rows")
            context = it.encoder(tokens).classes.flatten(0, 1)
            seen: list[torch.Tensor] = []

            def watched(values: torch.Tensor) -> torch.Tensor:
                seen.append(values.detach().clone())
                return gradient(values)

            it.row_generator.temperature = 1.0  # type: ignore[assignment]
            last = it.row_generator.guided(context, seeded("noise"), watched).values  # type: ignore[operator]
            seen.append(last)
            asked, _ = it.learner.features(task.query.images)
            right = []
            for values in seen:
                rows = it.row_scale * values[None]
                said = it.vision.outputs(asked, base + rows).argmax(-1)
                right.append(100 * float((said == task.query.labels).double().mean()))
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        show = np.linspace(0, len(seen) - 1, 6).round().astype(int)
        most = float(torch.stack(seen).abs().quantile(0.98))
        for at, n in enumerate(show):
            axes = figure.add_subplot(1, len(show), at + 1)
            axes.imshow(seen[n].T.numpy(), cmap="coolwarm", vmin=-most, vmax=most, aspect="auto", interpolation="none")
            axes.set(xticks=range(task.ways), yticks=[])
            axes.set_xticklabels([f"class {k}" for k in range(task.ways)], fontsize=6)
            axes.set_title(f"step {n}: {right[n]:.0f} %", fontsize=9)
        self.save(figure, "gallery-diffusion", runs=["diffusion"], data=self.options.data, accuracy=right)

    def filters(self) -> None:
        """Kernels of the first layer that are written for two tasks, and how they differ from the base."""
        it = load(self.options.filters).meta_learner.eval()
        name = next(name for name, shape in it.spec.shared if len(shape) == 4)
        with torch.no_grad():
            base = it.learner.own_weights()[name].detach()
            written = [it.start(self.task(n).support, 5, seeded("filters")).weights[name][0] for n in (0, 1)]
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        size = float(base.abs().quantile(0.98))
        gaps = (written[0] - base, written[0] - written[1])
        panels = [("the learned base", base, size), ("written for a task", written[0], size),
                  ("written less base", gaps[0], float(gaps[0].abs().max())),
                  ("less a second task's", gaps[1], float(gaps[1].abs().max()))]  # fmt: skip
        for at, (title, kernels, most) in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), at + 1)
            axes.imshow(_tiles(kernels[:, 0].numpy(), most), cmap="coolwarm", vmin=-most, vmax=most)
            axes.set_axis_off()
            axes.set_title(title, fontsize=9)
        gap = [float((w - base).norm() / base.norm()) for w in written]
        apart = float((written[0] - written[1]).norm() / base.norm())
        about = {"tensor": name, "change_relative_to_base": gap, "difference_between_tasks": apart}
        self.save(figure, "gallery-filters", runs=[Path(self.options.filters).name], data=self.options.data, **about)


def _tiles(kernels: np.ndarray, most: float) -> np.ndarray:
    """``[32 3 3]`` kernels in a grid with lines between them."""
    columns = 4
    rows = -(-len(kernels) // columns)
    side = kernels.shape[-1] + 1
    grid = np.full((rows * side - 1, columns * side - 1), np.nan)
    for n, kernel in enumerate(kernels):
        y, x = divmod(n, columns)
        grid[y * side : y * side + side - 1, x * side : x * side + side - 1] = kernel
    return grid


def main() -> int:
    """Draws everything that can be drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="runs/families", help="run directories by method")
    parser.add_argument("--filters", default="", help="run of hypernet --generate all")
    parser.add_argument("--data", default="omniglot")
    parser.add_argument("--tasks", type=int, default=60, help="episodes of the calibration picture")
    parser.add_argument("--out", default=str(ROOT / "docs" / "pictures"))
    parser.add_argument("--only", default="", help="names of pictures, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    gallery = Gallery(options)
    every = ("first", "steps", "calibration", "draws", "walk", "denoising", "filters")
    for name in options.only.split(",") if options.only else every:
        if name == "filters" and not options.filters:
            print("filters: name a run with --filters", file=sys.stderr)
            continue
        getattr(gallery, name)()
        print(f"{name}: drawn")
    notes = Path(options.out) / "gallery.json"
    before = json.loads(notes.read_text(encoding="utf-8"))["pictures"] if notes.exists() else {}
    write_json(
        notes,
        {"schema": "genmeta.gallery/1", "machine": provenance()["machine"], "pictures": {**before, **gallery.made}},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
