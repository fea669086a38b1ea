"""From the state of a training run to the checkpoint that ships in the package.

python tools/photos/ship.py --run RUN/last.pt --out src/genmeta/checkpoints/photos.safetensors
"""

from __future__ import annotations

import argparse
import importlib.metadata
from pathlib import Path

import torch
from table import load

from genmeta.engine.checkpoint import learner_header, save_changes
from genmeta.engine.run_directory import git_commit

CARD = {
    "summary": "Photos, drawings, signs and characters of your own, 112×112 in colour; adapts a pretrained network.",
    "data": "Caltech-101, emoji, Omniglot, printed glyphs, MNIST, on ImageNet weights",
    "licence": "Apache-2.0 (see the card for the data)",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    it = load(args.run)
    directions = it.generator.directions
    state = torch.load(args.run, weights_only=True)
    header = {
        "method": "film-transfer",
        "options": {"directions": directions, "learns": "late"},
        "learner": learner_header(it.learner.config),
        "vision": "classification",
        "card": CARD,
        "training": {"command": "tools/photos/train.py", "steps": state["step"]},
        "provenance": {
            "genmeta": importlib.metadata.version("genmeta"),
            "torch": torch.__version__,
            "commit": git_commit(Path(__file__).parent),
        },
        "result": {"steps": state["step"]},
    }
    save_changes(args.out, it, header)


if __name__ == "__main__":
    main()
