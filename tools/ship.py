"""Makes a checkpoint of the package from a finished run: adds its card and the temperature of held-out classes.

    tools/ship.py RUN NAME --summary ... --trained-on ... --licence ... --validate omniglot --validate glyphs --strokes

Writes src/genmeta/checkpoints/NAME.safetensors. The model card NAME.md beside it is written by hand; its tables come
from result files. What only concerns the machine that trained it (paths) is left out of the header.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.engine import Trained, load
from genmeta.engine.checkpoint import save_changes, save_model
from genmeta.estimators.calibration import fit_temperature
from genmeta.tasks import ClassificationTasks

CHECKPOINTS = Path(__file__).parent.parent / "src" / "genmeta" / "checkpoints"
#: Shots of the validation episodes that temperatures are fitted to, and their ways.
SHOTS, WAYS = (1, 2, 5), (5, 10)


def main() -> None:
    """Reads the run, writes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--summary", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--validate", action="append", default=[], help="data spec; may be given again")
    parser.add_argument("--strokes", action="store_true", help="it reads bright strokes on black")
    parser.add_argument("--size", type=int, default=0, help="of images by default, if its learner reads any")
    parser.add_argument("--changes", action="store_true", help="in half precision, and only what training has changed")
    parser.add_argument("--episodes", type=int, default=12, help="of each kind and data spec")
    args = parser.parse_args()
    trained = load(args.run)
    torch.set_num_threads(1)
    header = dict(trained.config)
    if args.size:
        header["learner"] = {**header["learner"], "size": args.size}
    training = {k: v for k, v in header.pop("training").items() if k not in ("run", "init", "threads", "device")}
    provenance = {k: v for k, v in header.pop("provenance").items() if k != "command"}
    card = {
        "summary": args.summary,
        "data": args.trained_on,
        "licence": args.licence,
        "strokes": args.strokes,
        **({"temperature": temperatures(trained, args.validate, args.episodes)} if args.validate else {}),
    }
    path = CHECKPOINTS / f"{args.name}.safetensors"
    save = save_changes if args.changes else save_model
    save(path, trained.meta_learner, {**header, "training": training, "provenance": provenance, "card": card})
    print(f"{path.relative_to(CHECKPOINTS.parent.parent.parent)}: {path.stat().st_size / 1e6:.2f} MB, {card}")


def temperatures(trained: Trained, specs: list[str], episodes: int) -> dict[str, float]:
    """Shots -> the temperature that fits predictions on validation classes best."""
    meta_learner = trained.meta_learner
    config, steps = meta_learner.learner.config, meta_learner.inner_steps
    sources = [open_dataset(spec, size=config.size, channels=config.channels) for spec in specs]
    found = {}
    for shots in SHOTS:
        logits, targets = [], []
        for data in sources:
            for ways in WAYS:
                tasks = ClassificationTasks(data, "val", ways=ways, shots=shots, queries=5)
                for i in range(episodes):
                    task = tasks.sample(1, rng=seeded("ship", i))
                    with torch.no_grad():
                        outputs, *_ = meta_learner.answers(task, steps, seeded(0))
                    said = meta_learner.pooled(outputs[steps].double(), 1)[0]
                    # fewer classes are as good as classes that nothing speaks for
                    logits.append(torch.nn.functional.pad(said, (0, max(WAYS) - ways), value=-1e4))
                    targets.append(task.query.targets[0])
        right = (torch.cat(logits).argmax(-1) == torch.cat(targets)).double().mean()
        found[str(shots)] = round(fit_temperature(torch.cat(logits), torch.cat(targets), spread=100.0), 4)
        print(f"{shots} shots: {100 * right:.1f} %, temperature {found[str(shots)]}")
    return found


if __name__ == "__main__":
    main()
