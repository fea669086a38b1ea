"""Early maps of the sets that nothing was trained or chosen on, in the views that adaptation uses; made once.

python tools/photos/held_out.py --data ../shared/data --out HELD_OUT
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.learners import LearnerConfig, build_learner
from genmeta.learners.base import Pass
from genmeta.tasks.augment import fixed_views

#: Set -> data spec below the data folder.
SETS = {
    "pacs-photo": "folder:{}/pacs_84.zip?within=photo",
    "pacs-art": "folder:{}/pacs_84.zip?within=art_painting",
    "pacs-cartoon": "folder:{}/pacs_84.zip?within=cartoon",
    "pacs-sketch": "folder:{}/pacs_84.zip?within=sketch",
    "gtsrb": "folder:{}/gtsrb_32_3pertrack.zip",
    "digits": "digits",
}
#: Most images of a class, drawn at random: enough for many different episodes.
CAP = 90


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    learner = build_learner(LearnerConfig("efficientnet-lite0", 3, 112), seeded(0))
    run = Pass(learner, {}, 1, None)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets.split(","):
        if (args.out / f"{name}.json").exists():
            continue
        data = open_dataset(SETS[name].format(args.data), size=112, channels=3)
        rng = np.random.default_rng(0)
        picked, counts = [], []
        for k in range(len(data.class_names)):
            # three frames of each passing of a sign are three times the same picture: one of them
            every = slice(1, None, 3) if name == "gtsrb" else slice(None)
            inside = rng.permutation(np.arange(data.offsets[k], data.offsets[k + 1])[every])[:CAP]
            picked.append(np.sort(inside))
            counts.append(len(inside))
        index = np.concatenate(picked)
        maps = np.lib.format.open_memmap(args.out / f"{name}.maps.npy", "w+", np.float16, (len(index), 3, 14, 14, 40))
        features = np.zeros((len(index), 1280), np.float32)
        for at in range(0, len(index), 32):
            images = torch.from_numpy(data.images[index[at : at + 32]]).permute(0, 3, 1, 2).float().div(255)
            with torch.no_grad():
                for v, view in enumerate(fixed_views(images[None])):
                    early = learner.early(run, view[0])
                    maps[at : at + 32, v] = early.permute(0, 2, 3, 1).half().numpy()
                    if v == 0:
                        features[at : at + 32] = learner.late(run, early).numpy()
        maps.flush()
        np.save(args.out / f"{name}.features.npy", features)
        meta = {"classes": list(data.class_names), "counts": counts, "data": SETS[name].format("../shared/data")}
        (args.out / f"{name}.json").write_text(json.dumps(meta))
        print(name, len(index), flush=True)


if __name__ == "__main__":
    main()
