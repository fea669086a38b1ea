"""The classes a visitor made and their images: plain data, no web."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from genmeta.serve.images import Picture
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal

LONGEST_NAME = 60


@dataclass
class PictureClass:
    """One class.

    Attributes:
        id: its number within the board.
        name: what the visitor calls it.
        pictures: its images by number, in the order they came.
    """

    id: int
    name: str
    pictures: dict[int, Picture] = field(default_factory=dict)


class Board:
    """Classes and images of one visitor.

    Every change raises `revision`, so that it can be told whether a model was adapted to what the page shows now.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.classes: dict[int, PictureClass] = {}
        self.revision = 0
        self._numbers = itertools.count(1)

    @property
    def size(self) -> int:
        """Bytes of all pixels."""
        return sum(p.pixels.nbytes for c in self.classes.values() for p in c.pictures.values())

    def add_class(self, name: str) -> PictureClass:
        """A new class without images; an empty name becomes ``Class 1``, ``Class 2``, ..."""
        if len(self.classes) >= self.limits.classes:
            raise Refusal(f"There is room for {self.limits.classes} classes. Remove one to add another.")
        name = self._free_name(name)
        added = PictureClass(next(self._numbers), name)
        self.classes[added.id] = added
        self.revision += 1
        return added

    def rename(self, class_id: int, name: str) -> PictureClass:
        """Gives a class another name."""
        changed = self.find(class_id)
        if name.strip() != changed.name:
            changed.name = self._free_name(name)
            self.revision += 1
        return changed

    def remove_class(self, class_id: int) -> None:
        """Removes a class and its images."""
        self.find(class_id)
        del self.classes[class_id]
        self.revision += 1

    def check_room(self, class_id: int) -> PictureClass:
        """The class, if it can take another image."""
        found = self.find(class_id)
        if len(found.pictures) >= self.limits.images:
            raise Refusal(f"“{found.name}” holds {self.limits.images} images, and that is plenty. Remove some first.")
        if sum(len(each.pictures) for each in self.classes.values()) >= self.limits.pictures:
            raise Refusal(f"There is room for {self.limits.pictures} images in all. Remove some to add others.")
        return found

    def add_picture(self, class_id: int, picture: Picture) -> int:
        """Adds an image to a class and returns its number."""
        into = self.check_room(class_id)
        for each in self.classes.values():
            if any(picture.digest == known.digest for known in each.pictures.values()):
                where = "in this class" if each is into else f"in “{each.name}”, and can be in one class only"
                raise Refusal(f"That picture is already {where}.", 409)
        number = next(self._numbers)
        into.pictures[number] = picture
        self.revision += 1
        return number

    def remove_picture(self, picture_id: int) -> None:
        """Removes an image from whatever class it is in."""
        for each in self.classes.values():
            if each.pictures.pop(picture_id, None) is not None:
                self.revision += 1
                return
        raise Refusal("That image is no longer there.", 404)

    def find(self, class_id: int) -> PictureClass:
        """The class of that number."""
        if class_id not in self.classes:
            raise Refusal("That class is no longer there.", 404)
        return self.classes[class_id]

    def support(self) -> list[PictureClass]:
        """The classes to learn, each with at least one image.

        Raises:
            Refusal: fewer than two classes, or one without images.
        """
        filled = [each for each in self.classes.values() if each.pictures]
        empty = [each.name for each in self.classes.values() if not each.pictures]
        if len(filled) < 2:
            raise Refusal("To tell things apart takes at least two classes with an image each. Add some images first.")
        if empty:
            names = ", ".join(f"“{name}”" for name in empty)
            raise Refusal(f"{names} has no image yet. Add one, or remove the class.")
        return filled

    def as_json(self) -> list[dict[str, Any]]:
        """What the page draws."""
        return [
            {
                "id": each.id,
                "name": each.name,
                "images": [{"id": number, "thumbnail": p.thumbnail} for number, p in each.pictures.items()],
            }
            for each in self.classes.values()
        ]

    def _free_name(self, name: str) -> str:
        name = " ".join(name.split())
        taken = {each.name.casefold() for each in self.classes.values()}
        if not name:
            return next(n for i in itertools.count(1) if (n := f"Class {i}").casefold() not in taken)
        if len(name) > LONGEST_NAME:
            raise Refusal(f"A class name may have {LONGEST_NAME} characters, this one has {len(name)}. Shorten it.")
        if not name.isprintable():
            raise Refusal("A class name must be made of printable characters.")
        if name.casefold() in taken:
            raise Refusal(f"There is already a class called “{name}”. Choose another name.")
        return name
