"""The model card of a bundle: what a person who is handed the folder should know, in Markdown.

Only what is known is said, and what is not known is said to be so. After Mitchell et al., "Model Cards for Model Reporting"
(2019): what it is, data, how good, per class, limits.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from edgenas.architectures.words import words_of
from edgenas.architectures.workload import workload_from_architecture
from edgenas.bundle import Manifest, Score
from edgenas.confusion import OfClass, confusion_of, of_classes
from edgenas.export.kinds import Built
from edgenas.hardware.words import latency_words
from edgenas.image_sizes import size_in_words
from edgenas.records import Latency, Metric, Preprocessing
from edgenas.tasks import Task, validation_of

MOST_CLASSES = 50  # in its table; of more those with the least recall
PURPOSES = {
    "classification": "says which of {outputs} classes an image belongs to",
    "faces": "turns an aligned face into {numbers}, which are alike for two pictures of one person",
    "generic": "gives {numbers} for an image",
}
FITS = {
    "crop": "scaled until it covers {size} px, then its centre is cut out",
    "stretch": "scaled to {size} px, whatever its proportions",
    "pad": "scaled until it fits into {size} px, the rest filled with grey",
}


def model_card(manifest: Manifest, task: Task, built: Sequence[Built], seeds: int | None, date: datetime.date) -> str:
    """`manifest`: finished but for its hashes; `built`: FP32 first; `seeds`: how many trainings it is the best of, if known."""
    sections = [
        _what(manifest, task, date),
        _data(manifest, task),
        _quality(manifest, task, built),
        _files(manifest, built),
        _use(manifest),
        _limits(manifest, task, built[0].score, seeds),
        _versions(manifest),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


# ---------------------------------------------------------------- sections


def _what(manifest: Manifest, task: Task, date: datetime.date) -> list[str]:
    workload = workload_from_architecture(manifest.architecture)
    kind = manifest.kind or "generic"
    outputs = workload.kernels[-1].out_channels
    purpose = PURPOSES[kind].format(outputs=outputs, numbers="one number" if outputs == 1 else f"{outputs} numbers")
    lines = [
        f"# Model card: {_plain(manifest.name)}",
        "",
        f"A convolutional network that {purpose}. Exported by EdgeNAS on {date.isoformat()}.",
        "",
        f"- Architecture: {_plain(words_of(manifest.architecture))} (fingerprint `{manifest.fingerprint}`), {workload.params:,} "
        f"parameters, {workload.macs:,} multiply-accumulates for one image.",
        f"- Input: {_input_words(manifest)}.",
        f"- An image becomes this input so: {preprocessing_words(manifest.preprocessing, manifest.input)}.",
        f"- Images at a time: {'any number' if manifest.batch is None else f'exactly {manifest.batch}'}.",
    ]
    if task.classes and kind == "classification":
        lines.append(f"- Classes: {_some(manifest.labels)}.")
    return lines


def _data(manifest: Manifest, task: Task) -> list[str]:
    splits = (
        (len(part), name) for part, name in ((task.train, "training"), (task.val, "validation"), (task.test, "test"))
    )
    licence = manifest.data_license or (
        "not recorded. Whoever passes this network on should find out what the images' licence allows"
    )
    return [
        "## Data",
        "",
        f"- Trained on {_code(manifest.data)}: {', '.join(f'{count:,} {name} images' for count, name in splits)}.",
        f"- Licence of the data: {licence}.",
    ]


def _quality(manifest: Manifest, task: Task, built: Sequence[Built]) -> list[str]:
    metric, score = task.metric, built[0].score
    value = f"**{metric.words(score.value)}**{_interval(score, metric)}"
    classifier = manifest.kind == "classification"
    lines = [
        "## How good it is",
        "",
        f"{metric.name} of the FP32 file on {score.n:,} validation images: {value}.",
        "The validation split helped to choose this network and its weights, so expect a little less on new images."
        + (" `edgenas evaluate` says how it does on images of yours." if classifier else ""),
    ]
    lines += _chance(task, score)
    if classifier:
        counts = confusion_of(task.val.labels, built[0].outputs.argmax(1), len(manifest.labels))
        lines += ["", *_class_table(of_classes(counts, manifest.labels))]
    return lines


def _chance(task: Task, score: Score) -> list[str]:
    validation, metric = validation_of(task), task.metric
    if validation is None:
        return ["What guessing would score is not known for this task."]
    raw = {metric.name: score.value}
    if score.interval is not None and not metric.share:
        raw |= {f"{metric.name}_low": score.interval[0], f"{metric.name}_high": score.interval[1]}
    if validation.is_chance(metric.trial_scores(raw), metric.objective):
        return [
            f"**This is no better than chance** ({validation.chance_words(metric.objective)}): the network has learned nothing "
            "that can be shown. Do not use it; train longer or look at the data."
        ]
    return [f"Without any learning it would be {metric.words(validation.chance)}."]


def _class_table(classes: Sequence[OfClass]) -> list[str]:
    shown = list(classes)
    lines = []
    if len(shown) > MOST_CLASSES:
        shown = sorted((one for one in classes if one.recall is not None), key=lambda one: one.recall or 0.0)[
            :MOST_CLASSES
        ]
        lines = [f"The {len(shown)} of {len(classes)} classes with the least recall:", ""]
    lines += ["| class | images | recall, % | precision, % |", "|---|---|---|---|"]
    for one in shown:
        between = (
            "" if one.recall_interval is None else f" ({one.recall_interval[0]:.1f} to {one.recall_interval[1]:.1f})"
        )
        lines.append(
            f"| {_plain(one.name)} | {one.images} | {_number(one.recall)}{between} | {_number(one.precision)} |"
        )
    return lines


def _files(manifest: Manifest, built: Sequence[Built]) -> list[str]:
    metric = manifest.metric
    assert metric is not None
    lines = [
        "## Files",
        "",
        f"| file | precision | MB | {_plain(metric.name)} on validation | largest difference to the trained network | cosine |",
        "|---|---|---|---|---|---|",
    ]
    for one in built:
        artifact = manifest.models[one.precision].artifact
        score = f"{metric.words(one.score.value)}{_interval(one.score, metric)}"
        lines.append(
            f"| {_code(artifact.path)} | {one.precision} | {artifact.size_mb:.3f} | {score} | {one.parity.max_abs:.2g} | "
            f"{one.parity.cosine:.6f} |"
        )
    lines.append("")
    lines.append(f"To be served: {manifest.chosen_precision}. Every file passed the parity gate before it was written.")
    lines += [
        f"{precision} was asked for and is not here: {reason}." for precision, reason in manifest.left_out.items()
    ]
    return [*lines, "", *_latencies(manifest)]


def _latencies(manifest: Manifest) -> list[str]:
    lines = [f"Latency of one run of {_images(manifest.batch or 1)}:", ""]
    for precision, model in manifest.models.items():
        lines += [f"- {precision}: {_latency(one)}" for one in model.latencies]
    return lines


def _use(manifest: Manifest) -> list[str]:
    commands = {
        "classification": [
            "edgenas classify BUNDLE IMAGE...",
            "edgenas evaluate BUNDLE --data DIR",
            "edgenas serve BUNDLE",
        ],
        "faces": ["edgenas faces calibrate --model BUNDLE --data PEOPLE", "edgenas serve BUNDLE --gallery FILE"],
        "generic": ["edgenas serve BUNDLE"],
    }
    return [
        "## How to run it",
        "",
        "```",
        "edgenas bundle verify BUNDLE",
        *commands[manifest.kind or "generic"],
        "```",
        "",
        "Any ONNX runtime reads the files; `manifest.json` holds the preprocessing, `golden.npz` inputs with right outputs.",
    ]


def _limits(manifest: Manifest, task: Task, score: Score, seeds: int | None) -> list[str]:
    lines = ["## Limits", ""]
    if manifest.kind == "classification":
        lines.append(
            "- It knows its classes alone: whatever else it is shown is given one of them, often with a high probability."
        )
    if manifest.kind == "faces":
        lines.append("- It does not see whether a face is alive: a photograph of somebody is taken for that person.")
        lines.append("- It needs a threshold: calibrate it on people like those who will stand before the camera.")
    if seeds is None:
        lines.append("- How many times it was trained is not recorded.")
    elif seeds == 1:
        lines.append("- It was trained once, with one seed: another training may do better or worse.")
    else:
        lines.append(
            f"- It is the best on validation of {seeds} trainings with other seeds; a typical one does a little worse."
        )
    if task.metric.share and score.interval is not None and score.interval[1] - score.interval[0] > 5:
        lines.append(
            f"- {score.n:,} validation images tell its {task.metric.name} no more exactly than the interval above."
        )
    lines += [f"- {note[:1].upper()}{note[1:]}." for note in manifest.notes]
    lines.append("- Other cameras, places or times than those of the training images were not tested.")
    return lines


def _versions(manifest: Manifest) -> list[str]:
    names = (f"{name} {version}" for name, version in manifest.versions.items())
    recipe = f" Recipe: {manifest.recipe}." if manifest.recipe else ""
    return ["## Versions", "", f"{', '.join(names)}. Target: {manifest.profile}.{recipe}"]


# ---------------------------------------------------------------- words


def preprocessing_words(how: Preprocessing, kind: str) -> str:
    """An image of any size to the network's input, in the order in which it is done."""
    size = size_in_words(how.size)
    words = [f"turned upright, made {'grey' if how.channels == 1 else 'RGB'}", FITS[how.fit].format(size=size)]
    if how.padding:
        words.append(f"{how.padding} black pixels added on every side")
    if kind == "uint8":
        words.append("fed as it is (the file normalises by itself)")
    else:
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (how.mean, how.std))
        words.append(f"divided by 255, minus {mean}, over {std}")
    return "; ".join(words)


def _input_words(manifest: Manifest) -> str:
    sides, channels = size_in_words(manifest.preprocessing.input_size), manifest.preprocessing.channels
    colour = "grey" if channels == 1 else "RGB"
    if manifest.input == "uint8":
        return f"`image`, uint8, (N, H, W, {channels}), {colour} pixels of {sides} px"
    return f"`image`, float32, (N, {channels}, H, W), {colour}, {sides} px"


def _interval(score: Score, metric: Metric) -> str:
    if score.interval is None:
        return ""
    low, high = (metric.number(end) for end in score.interval)
    return f" (95 % interval {low} to {high})"


def _latency(latency: Latency) -> str:
    conditions = f" ({latency.detail})" if latency.detail else ""
    return f"{latency_words(latency)} on {latency.profile}{conditions}"


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(map(_plain, labels[:MOST_CLASSES]))
    more = len(labels) - MOST_CLASSES
    return f"{shown} and {more} more (`manifest.json` has all)" if more > 0 else shown


def _plain(text: str) -> str:
    """A name in Markdown, as it is: on one line, what would be a sign of Markdown, of HTML or of a formula escaped."""
    return re.sub(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """A name as code in Markdown, also one with backticks of its own."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    gap = " " * ("`" in text)
    return f"{fence}{gap}{text}{gap}{fence}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
