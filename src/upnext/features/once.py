"""A value of an object that is worked out when it is first asked for, and only then; knows nothing of the values."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """As `functools.cached_property`, without the lock that makes it slow in Python 3.11. For objects of one thread."""

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self.__doc__ = work.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, thing: Any, owner: type) -> T:
        # No `__set__`: from now on Python finds the value in the object before it looks here.
        value: T = self._work(thing)
        thing.__dict__[self._name] = value
        return value
