"""The study record of schemas 1 and 2 (edgenas 0.1 and before its Python API), as it is written today.

What a search decided was one dictionary `settings`. Today the profiles are `hardware`, and the rest is `plan`, in which NSE's
rules are one record with its supernets, and a space says its kind.
"""

from __future__ import annotations

from typing import Any

import msgspec

SPACES = {"nse": "multibranch", "nal": "cells"}  # of every other method: chain
PLANNED = ("asked", "device", "task", "training", "space", "rules")  # what every search wrote down


def study_of_today(content: bytes) -> bytes:
    """The JSON of a study record, converted where it is an older one; what is none at all is left for its reader to refuse."""
    try:
        study = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content
    settings = study.pop("settings", None) if isinstance(study, dict) else None
    if not isinstance(settings, dict):
        return content
    converted: dict[str, Any] = {**study, "plan": _plan(study.get("method"), settings)}
    if (profiles := settings.get("profiles")) is not None:
        converted["hardware"] = profiles
    if study.get("task") == "faces":
        converted["metric"] = {"name": "tar"}
    return msgspec.json.encode(converted)


def _plan(method: object, settings: dict[str, Any]) -> dict[str, Any]:
    kept = ("preset", "device", "task", "training", "validation", "budget")
    plan = {name: settings[name] for name in kept if name in settings}
    if any(name not in settings for name in PLANNED):
        return plan  # no search made it: it can be looked at, and not go on
    asked, rules = dict(settings["asked"]), settings["rules"]
    plan["boards"] = bool(asked.pop("boards", False))
    if method == "nse":
        rules = {"rules": rules, "supernet": settings.get("supernet"), "start": settings.get("start")}
    space = {"name": SPACES.get(str(method), "chain"), "fields": settings["space"]}
    return {"preset": "", **plan, "asked": asked, "space": space, "rules": rules}
