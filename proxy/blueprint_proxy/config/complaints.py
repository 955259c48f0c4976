"""pydantic's errors in the words of this configuration; none repeats a value."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from blueprint_proxy.config.models import ConfigFile

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from blueprint_proxy.config.reading import KeyPath

_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
_SECRETIVE = ("credential", "token")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Where something is wrong, the key path that may be shown of it, and the sentence."""

    path: KeyPath
    shown: KeyPath
    message: str


def complaint(error: ErrorDetails) -> Complaint | None:
    """Return what one of pydantic's errors means; None for one that another check says better."""
    path: KeyPath = tuple(error["loc"])
    kind = error["type"]
    context = error.get("ctx", {})
    if path and path[-1] == "[key]":
        return None
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "value_error":
        return Complaint(path, path, str(context["error"]))
    if kind in _WORDS:
        return Complaint(path, path, _WORDS[kind].format(**context))
    return Complaint(path, path, "has a value of the wrong type")


def _unknown(path: KeyPath) -> Complaint:
    secretive = any(step in _SECRETIVE for step in path[:-1])  # a value may have been written where a key belongs
    known = known_keys(path[:-1])
    near = get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    hint = f"the nearest known one is {near[0]}" if near else f"known are {', '.join(known)}"
    if secretive:
        return Complaint(path, path[:-1], f"unknown key (not shown); {hint}")
    return Complaint(path, path, f"unknown key; {hint}")


def known_keys(path: KeyPath) -> list[str]:
    """Return the keys that a mapping at this path may have."""
    annotation: object = ConfigFile
    for step in path:
        model = model_in(annotation)
        if model is not None and not _is_dict(annotation):
            by_name = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
            annotation = by_name.get(str(step))
        else:
            annotation = get_args(annotation)[-1] if get_args(annotation) else None
    found = model_in(annotation)
    return [] if found is None else [field.alias or name for name, field in found.model_fields.items()]


def _is_dict(annotation: object) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model that a field's annotation holds, through unions, lists and mappings; None if none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = model_in(argument)
        if found is not None:
            return found
    return None
