"""Names to things, with the nearest name in the error when there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from genmeta.core.errors import UsageError, unknown

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """A dictionary that is filled by decorators and complains helpfully.

    Example:
        >>> colours: Registry[type] = Registry("colour")
        >>> @colours.register("red")
        ... class Red: ...
        >>> colours.names()
        ['red']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, Item] = {}

    def register(self, name: str) -> Callable[[Item], Item]:
        """A decorator that files its argument under ``name``."""

        def keep(item: Item) -> Item:
            if name in self._items:
                raise UsageError(f"There already is a {self.kind} named {name!r}; choose another name.")
            self._items[name] = item
            return item

        return keep

    def __getitem__(self, name: str) -> Item:
        if name not in self._items:
            raise unknown(self.kind, name, self._items)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._items)
