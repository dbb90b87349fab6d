"""What fingerprints, keys and seeds are hashes of: so made that a record may grow without a known network becoming a new one.

A hash is taken of a record's JSON: fields in order of definition, dictionary keys sorted. Written out are
  - every field without a default, and every field of FIRST, at its default or not: what a study means (architecture, recipe,
    settings) is then in its hashes, and stays there whatever a later version takes as default;
  - of fields that came later, those that are not at their default. So one more field changes no hash that is there already.
A changed default of such a later field would give one hash two meanings: whoever changes one raises IDENTITY, and studies of
another identity are refused. tests/test_identity.py holds their defaults, and one hash of every record, against tests/golden.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import msgspec

# Kept in study.db. 1: the first version. 2: the schedule cosine-epoch, TRG-NAS's stops and NSE's target under a latency limit
# mean what the papers' authors do. Keys are the same: studies of 1 are read, trained and exported, and most of them go on.
IDENTITY = 2
READABLE = (1, 2)

# The fields with a default that the first version had. Never add to it: a new field belongs to the second kind.
FIRST = {
    "Embedding": "pool",
    "ChainArchitecture": "in_channels image_size stem_strides stage_strides",
    "MultiBranchArchitecture": "stem_channels stem_stride tail_channels in_channels image_size",
    "CellArchitecture": "in_channels image_size",
    "FbnetArchitecture": "image_size in_channels",
    "Recipe": "momentum nesterov weight_decay decay_norm_and_bias schedule warmup_epochs clip_norm label_smoothing "
    "crop_padding flip cutout ema precision threads loss settings",
    "Candidate": "repeat",
    "PowerMode": "watts clocks",
    "HardwareProfile": "aliases vendor soc compute_capability precisions batch_size threads power_mode power_modes peaks "
    "bandwidth_gb_s memory_mb usable_memory_mb launch_overhead_us carried_from error_band onnx_opset onnx_ir container_base "
    "calibration sources notes",
    "MultiBranchSpace": "stem_stride tail_channels",
    "SupernetRules": "fitness_lr fitness_every cost_weight drop_below keep held_out calibration_batches",
    "SearchSettings": "target data data_dir task method preset min_depth max_depth min_width max_width width_step recipe "
    "epoch_scale search_images budget max_latency_ms max_params max_size_mb max_memory_mb max_energy_mj policy confirm_seeds "
    "control image_size flip seed precision final_width pool rounds from_study space far rules",
    "Sidecar": "clocks engine_sha256",
}


def canonical_json(value: Any) -> bytes:
    """The one JSON spelling of a value: fields in order, dictionary keys sorted, all defaults written out, no spaces."""
    return msgspec.json.encode(value, order="deterministic")


def digest(*values: Any) -> str:
    """First 16 hex digits of the SHA-256 over what identifies the values."""
    return hashlib.sha256(msgspec.json.encode(identity(values))).hexdigest()[:16]


def identity(value: Any) -> Any:
    """The part of a value that its hash is taken of, as dictionaries and lists in the order in which they are written."""
    if isinstance(value, msgspec.Struct):
        config, later = value.__struct_config__, later_defaults(type(value))
        named = {} if config.tag is None else {config.tag_field: config.tag}
        for name in value.__struct_fields__:
            item = getattr(value, name)
            if name not in later or item != later[name]:
                named[name] = identity(item)
        return named
    if isinstance(value, dict):
        return {key: identity(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [identity(item) for item in value]
    return value


@functools.cache
def later_defaults(record: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of the fields that are written out only where they differ from them."""
    first = {name for base in record.__mro__ for name in FIRST.get(base.__name__, "").split()}
    fields = msgspec.structs.fields(record)
    return {field.name: default_of(field) for field in fields if not field.required and field.name not in first}


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """What a field with a default holds where nothing is said."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
