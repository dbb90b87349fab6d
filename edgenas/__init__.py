"""EdgeNAS designs convolutional networks for a given device and gets them onto it."""

import os

# ONNX Runtime (from its import on) and Ray report how they are used to their makers unless this says otherwise.
for _name, _value in (("ORT_DISABLE_TELEMETRY", "1"), ("RAY_USAGE_STATS_ENABLED", "0")):
    os.environ.setdefault(_name, _value)

__version__ = "0.2.0"
