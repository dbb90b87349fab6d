"""docs/images/tables.svg: how much of each table's front a search has, by what it spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "docs" / "images" / "tables.svg"
COLUMNS, WIDTH, HEIGHT, GAP, TOP = 5, 170, 130, 54, 70
COLOURS = {
    "random": "#8d8d8d",
    "evolution": "#2a8c55",
    "nsga2": "#b8a000",
    "tpe": "#7a4fa3",
    "gp": "#c0392b",
    "guided": "#1b6ca8",
}
COSTS = (10, 25, 50, 100)
NAMES = {
    "help_raspi4": "Raspberry Pi 4",
    "help_pixel3": "Pixel 3",
    "latbench_embedded-gpu-jetson-nano-fp32": "Jetson Nano",
    "oneproxy_hwnasbench_edgegpu_jetson_tx2": "Jetson TX2",
}
Curves = Mapping[str, Mapping[str, Mapping[str, Any]]]  # method -> cost -> figures


def draw(tables: Mapping[str, Curves]) -> None:
    """Write the picture."""
    rows = -(-len(tables) // COLUMNS)
    wide, high = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + TOP + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" '
        'font-family="sans-serif" font-size="11" role="img">',
        "<title>Hypervolume by cost of searches on published tables, mean and standard error</title>",
        f'<rect width="{wide}" height="{high}" fill="white"/>',
        f'<text x="{GAP}" y="22" font-size="14">Share of the table\'s own front (hypervolume), by cost in full trainings</text>',
    ]
    for place, (name, colour) in enumerate(COLOURS.items()):
        left = GAP + 110 * place
        parts.append(f'<line x1="{left}" x2="{left + 20}" y1="40" y2="40" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{left + 26}" y="44">{escape(name)}</text>')
    for place, (name, curves) in enumerate(tables.items()):
        left, top = GAP + place % COLUMNS * (WIDTH + GAP), TOP + place // COLUMNS * (HEIGHT + GAP)
        parts += [f'<g transform="translate({left} {top})">', *panel(title_of(name), curves), "</g>"]
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text("\n".join([*parts, "</svg>"]) + "\n")


def title_of(table: str) -> str:
    """Its name for people: "CIFAR-100, Pixel 3"."""
    layout, dataset, *device = table.split(" ")
    if layout != "nasbench201":
        return {"nasbench101": "NAS-Bench-101, parameters", "accel": "Accel-NASBench, ZCU102"}[layout]
    data = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16": "ImageNet16-120"}[dataset]
    return f"201 {data}, {NAMES.get(device[0], device[0])}"


def panel(title: str, curves: Curves) -> list[str]:
    """One table: axes, and a line for every method."""
    means = [figures["hypervolume"] for of in curves.values() for figures in of.values()]
    low, high = math.floor(10 * min(means)) / 10, min(1.0, math.ceil(10 * max(means)) / 10)

    def x(cost: float) -> float:
        return WIDTH * math.log(cost / COSTS[0]) / math.log(COSTS[-1] / COSTS[0])

    def y(share: float) -> float:
        return HEIGHT * (high - share) / max(high - low, 1e-9)

    parts = [f'<text x="0" y="-6">{escape(title)}</text>']
    for cost in COSTS:
        parts.append(f'<line x1="{x(cost):.1f}" x2="{x(cost):.1f}" y1="0" y2="{HEIGHT}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x(cost):.1f}" y="{HEIGHT + 14}" text-anchor="middle" fill="#555555">{cost}</text>')
    for share in (low, high):
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="-4" y="{y(share) + 4:.1f}" text-anchor="end" fill="#555555">{share:.1f}</text>')
    for method, colour in COLOURS.items():
        points = sorted((int(cost), figures) for cost, figures in curves.get(method, {}).items())
        for cost, figures in points:
            error = figures["sd"] / math.sqrt(figures["n"])
            ends = y(figures["hypervolume"] - error), y(figures["hypervolume"] + error)
            parts.append(
                f'<line x1="{x(cost):.1f}" x2="{x(cost):.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" stroke="{colour}"/>'
            )
        if not points:
            continue
        line = " ".join(f"{x(cost):.1f},{y(figures['hypervolume']):.1f}" for cost, figures in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts
