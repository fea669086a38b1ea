"""Inputs that are nearly right: valid files with parts replaced, cut, or blown up."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

CORPUS = Path(__file__).parent / "corpus"

_numbers = st.one_of(
    st.integers(-2, 40), st.integers(), st.floats(), st.sampled_from([10**9, 2**31, 2**63, -(2**63), 1e308, 10**30])
)
_scalars = st.one_of(st.none(), st.booleans(), _numbers, st.text(max_size=12))
_json = st.recursive(_scalars, lambda s: st.lists(s, max_size=4) | st.dictionaries(st.text(max_size=8), s, max_size=4))


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _either(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is expected, sometimes anything."""
    return st.one_of(good, good, good, _json)


def _mutated(name: str) -> st.SearchStrategy[bytes]:
    """Files of the corpus with bytes overwritten, cut out or put in."""
    seeds = [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))] or [b""]

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(0, 6))):
            at = draw(st.integers(0, max(0, len(data) - 1)))
            kind = draw(st.sampled_from(["over", "cut", "in", "end"]))
            piece = draw(st.binary(min_size=1, max_size=8))
            if kind == "over":
                data[at : at + len(piece)] = piece
            elif kind == "cut":
                del data[at : at + draw(st.integers(1, 64))]
            elif kind == "in":
                data[at:at] = piece
            else:
                del data[at:]
        return bytes(data)

    return mutated()


_ids = st.integers(0, 3)
_files = st.sampled_from(["a.png", "b.png", "../a.png", ""])
_category = st.fixed_dictionaries({"id": _either(_ids), "name": _either(st.text(max_size=4))})
_box = _either(st.lists(_either(st.floats(-10, 100)), min_size=3, max_size=5))
_coco = st.fixed_dictionaries(
    {
        "images": _either(
            st.lists(
                _either(
                    st.fixed_dictionaries(
                        {
                            "id": _either(_ids),
                            "file_name": _either(st.sampled_from(["a.png", "b.png", "../a.png", ""])),
                        },
                        optional={"width": _either(st.integers(0, 64)), "height": _either(st.integers(0, 64))},
                    )
                ),
                max_size=3,
            )
        ),
        "categories": _either(
            st.lists(
                _either(st.fixed_dictionaries({"id": _either(_ids), "name": _either(st.text(max_size=4))})), max_size=3
            )
        ),
        "annotations": _either(
            st.lists(
                _either(
                    st.fixed_dictionaries(
                        {"image_id": _either(_ids), "category_id": _either(_ids), "bbox": _box},
                        optional={"id": _json, "iscrowd": _json},
                    )
                ),
                max_size=4,
            )
        ),
    }
)

_settings = st.dictionaries(
    st.sampled_from(
        [
            "method",
            "options",
            "learner",
            "vision",
            "steps",
            "lr",
            "clip",
            "seed",
            "device",
            "devices",
            "nodes",
            "training",
        ]
    ),
    _either(
        st.one_of(
            st.dictionaries(
                st.sampled_from(
                    ["name", "channels", "size", "width", "norm", "groups", "extra", "inner_steps", "hidden"]
                ),
                _either(st.one_of(st.integers(0, 64), st.sampled_from(["mlp", "conv4", "group", "batch"]))),
                max_size=5,
            ),
            st.sampled_from(["maml", "protonet", "hypernet", "diffusion", "cpu", "classification", "segmentation"]),
        )
    ),
    max_size=6,
)

_names = st.sampled_from(["glyphs", "folder", "coco", "omniglot", "digits", "x", ""])
_spec = st.builds(
    lambda name, path, options: f"{name}{path}?{'&'.join(f'{k}={v}' for k, v in options)}".encode("utf-8", "replace"),
    _names,
    st.one_of(st.just(""), st.text(max_size=10).map(":".__add__)),
    st.lists(st.tuples(st.one_of(st.sampled_from(["size", "color", "val", "seed", "merge"]), st.text(max_size=5)),
                       st.one_of(st.integers().map(str), st.text(max_size=6))), max_size=4),
)  # fmt: skip

_tags = st.sampled_from(
    ["annotation", "object", "bndbox", "name", "xmin", "ymin", "xmax", "ymax", "size", "width", "height", "part"]
)


def _element(parts: tuple[str, list[str]]) -> str:
    tag, inside = parts
    return f"<{tag}>{''.join(inside)}</{tag}>"


_xml = st.recursive(
    st.one_of(st.integers(-5, 90).map(str), st.sampled_from(["cat", "nan", "1e400", "inf", "&amp;", "&x;", "<!---->"])),
    lambda s: st.tuples(_tags, st.lists(s, max_size=5)).map(_element),
    max_leaves=30,
).map(lambda text: f"<annotation>{text}</annotation>".encode())


@st.composite
def _safetensors(draw: st.DrawFn) -> bytes:
    """Forged headers."""
    tensor = st.fixed_dictionaries(
        {
            "dtype": _either(st.sampled_from(["F32", "F64", "I64", "BF16", "BOOL"])),
            "shape": _either(st.lists(st.one_of(st.integers(0, 5), st.sampled_from([2**31, 2**62])), max_size=4)),
            "data_offsets": _either(st.lists(st.integers(0, 64), min_size=2, max_size=2)),
        }
    )
    table = draw(st.dictionaries(st.text(max_size=6), _either(tensor), max_size=3))
    header = {"schema": 1, "method": "protonet", "options": {}, "learner": {"name": "mlp"}, **draw(_settings)}
    table["__metadata__"] = draw(_either(st.just({"genmeta": json.dumps(header)})))
    text = _encoded(table)
    length = draw(st.one_of(st.just(len(text)), st.just(len(text)), st.integers(0, 2**64 - 1)))
    return struct.pack("<Q", length) + text + draw(st.binary(max_size=64))


_values = st.sampled_from([0, 0, 1, 2, 3, 7, 127, 254, 255, 256, 257, 700, 2**16 - 1, 2**16, 2**31 - 1, -1])
_modes = st.sampled_from(["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"])
_SAVES = {
    "png": "1 L P LA RGB RGBA I;16 I",
    "tiff": "1 L P LA PA RGB RGBA CMYK YCbCr LAB I;16 I F",
    "bmp": "1 L P RGB",
    "gif": "1 L P RGB",
    "webp": "RGB RGBA",
    "jpeg": "L RGB CMYK",
    "ppm": "1 L RGB I;16 I",
    "tga": "L P LA RGB RGBA",
}


@st.composite
def _masks(draw: st.DrawFn) -> bytes:
    """Pictures of few values in any mode, format and size; some are turned by their metadata, cut or overwritten."""
    mode = draw(_modes)
    width, height = draw(st.sampled_from([(24, 16), (16, 24), (1, 1), (1, 40), (300, 2), (33, 33)]))
    some = np.array(draw(st.lists(_values, min_size=1, max_size=4)))
    values = some[np.arange(width * height).reshape(height, width) * len(some) // (width * height)]
    kind = {"I": np.int32, "I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
    if kind is np.float32:
        values = np.where(values == 7, draw(st.sampled_from([0.5, np.nan, np.inf, 7.0])), values)
    with np.errstate(all="ignore"):
        image = Image.fromarray(values.astype(kind))
    if mode == "P":
        image.putpalette(draw(st.sampled_from([[0, 0, 0], [9, 9, 9, 255, 0, 0, 3, 3, 3]])))
    elif mode not in ("I", "I;16", "F", "L"):
        image = image.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr", "LAB", "HSV") else image.convert(mode)
    how = draw(st.sampled_from([name for name, modes in _SAVES.items() if mode in modes.split()] or ["png"]))
    exif = Image.Exif()
    if how in ("png", "tiff", "webp", "jpeg") and draw(st.booleans()):
        exif[0x0112] = draw(st.integers(0, 9))
    file = io.BytesIO()
    image.convert("RGB" if mode == "HSV" else mode).save(file, how, **({"exif": exif} if len(exif) else {}))
    data = bytearray(file.getvalue())
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(1, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


_meta = st.fixed_dictionaries({"classes": _either(st.lists(_either(st.text(max_size=4)), max_size=300))})

#: Target -> inputs.
STRATEGIES: dict[str, st.SearchStrategy[bytes]] = {
    "spec": st.one_of(_spec, st.binary(max_size=40), _mutated("spec")),
    "checkpoint": st.one_of(_safetensors(), _mutated("checkpoint"), st.binary(max_size=60)),
    "config": st.one_of(_settings.map(_encoded), _json.map(_encoded), st.binary(max_size=40), _mutated("config")),
    "coco": st.one_of(_coco.map(_encoded), _json.map(_encoded), _mutated("coco")),
    "voc": st.one_of(_xml, _mutated("voc"), st.binary(max_size=40)),
    "image": st.one_of(_mutated("image"), st.binary(max_size=200)),
    "mask": st.one_of(_masks(), _masks(), _masks(), _mutated("mask"), _meta.map(_encoded)),
    "archive": st.one_of(_mutated("archive"), st.binary(max_size=200)),
}
