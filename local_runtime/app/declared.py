"""What is wrong with what an app declares, said with the line at which it stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_WORDS = {
    0: "init takes no arguments",
    2: "a handler takes (context, request), or (context, requests) with batch=",
    3: "a handler with models= takes (context, request, model)",
}


def place_of(function: Callable[..., Any]) -> str:
    """'greet (app.py:12)'; the name alone where no source is known."""
    name = getattr(function, "__name__", repr(function))
    code = getattr(inspect.unwrap(function), "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def needs_parentheses(decorator: str, route: object) -> None:
    """Raises ValueError where the decorator was given the function in the place of a route."""
    if callable(route):
        raise ValueError(
            f'{place_of(route)}: write @app.{decorator}("/"), with parentheses and the route'
        )
    if not isinstance(route, str):
        raise ValueError(f'@app.{decorator}: a route is a text such as "/", found {route!r}')


def check_arguments(function: Callable[..., Any], count: int) -> None:
    """Raises ValueError for a function that cannot be called with so many arguments; a class tells
    nothing of what it is made with."""
    if inspect.isclass(function):
        return
    try:
        inspect.signature(function, follow_wrapped=False).bind(*[None] * count)
    except TypeError as error:
        raise ValueError(f"{place_of(function)}: {_WORDS[count]}: {error}") from None
    except ValueError:  # a function of C tells nothing of itself
        return


def check_numbers(function: Callable[..., Any], **settings: object) -> None:
    """Raises ValueError for a setting that is no number, such as a text with a unit."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            unit = " of seconds" if name == "timeout" else ""
            raise ValueError(f"{place_of(function)}: {name} is a number{unit}, found {value!r}")
