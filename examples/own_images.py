"""Your own images: a few of each class in folders, to a model that names new ones, and to a file that runs anywhere.

``python examples/own_images.py FOLDER`` reads ``FOLDER/<class>/<image>``. Without a folder it makes one of handwritten
digits, so that there is something to see. Takes about ten seconds.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from genmeta import FewShotClassifier


def make_folder(folder: Path, per_class: int = 6) -> None:
    """Writes images of three handwritten digits into class folders."""
    digits = load_digits()
    for name, digit in (("zero", 0), ("four", 4), ("seven", 7)):
        (folder / name).mkdir(parents=True)
        for n, pixels in enumerate(digits.images[digits.target == digit][:per_class]):
            image = Image.fromarray((pixels * 15).astype("uint8")).resize((64, 64), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{n}.png")


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="holds <class>/<image>; by default one that is made")
    parser.add_argument("--model", default="characters", help="photos for what a camera sees, characters for strokes")
    parser.add_argument("--out", help="where the model goes; by default a temporary directory")
    options = parser.parse_args(arguments)
    scratch = tempfile.TemporaryDirectory()
    folder = Path(options.folder or Path(scratch.name) / "digits")
    if not options.folder:
        make_folder(folder)

    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    names = [path.parent.name for path in files]
    shown, asked = files[0::2], files[1::2]  # every other image is kept to try the model on
    model = FewShotClassifier(options.model).fit(shown, names[0::2])
    print(f"classes {model.classes_.tolist()}, images of each {model.n_support_.tolist()}")
    print(f"leave-one-out accuracy: {100 * model.leave_one_out_:.0f} %")

    accuracy = float(model.score(asked, names[1::2]))
    print(f"accuracy on {len(asked)} images that it has not seen: {100 * accuracy:.0f} %")
    for path, chances in zip(asked[:3], model.predict_proba(asked[:3]), strict=True):
        print(f"  {path.parent.name}/{path.name}: {model.classes_[chances.argmax()]} ({100 * chances.max():.0f} %)")

    out = Path(options.out or Path(scratch.name) / "model.safetensors")
    model.save(out)  # one file; `genmeta predict`, `genmeta export` and FewShotClassifier.load read it
    again = FewShotClassifier.load(out)
    assert (again.predict(asked) == model.predict(asked)).all()
    print(f"saved, {out.stat().st_size / 1e6:.1f} MB")
    scratch.cleanup()
    return accuracy


if __name__ == "__main__":
    main()
