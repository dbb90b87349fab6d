"""Who am I: model, L4T, power mode by name, clocks, temperatures, power, throttling. Files only, under a replaceable root.

What a device does not tell is absent from the answer; nothing is guessed. Layouts known: L4T 32 (Jetson Nano), 35 and 36
(Xavier, Orin), 38 (Thor), Raspberry Pi OS, plain Linux.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from edgenas.records import Record

ROOT = Path("/")
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN", "VIN", "5V_IN")  # the whole module on one rail; elsewhere rails are summed
# Not in that sum, of an AGX Orin: NVIDIA counts the memory's rail in VIN_SYS_5V0, too (Jetson Linux Developer Guide, Jetson AGX
# Orin, power monitors), and nothing is connected to NC.
NOT_SUMMED = ("VDDQ_VDD2_1V8AO", "NC")
OF_FIRMWARE = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
COOLERS_THAT_SLOW = ("cpufreq", "devfreq", "balanced", "heavy", "throttle", "processor")
NVPMODEL_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")


class DeviceState(Record, frozen=True):
    """What the device said about itself at one moment. `throttle_events`: counters that only ever grow."""

    model: str
    kernel: str
    l4t: str
    power_mode: str
    clocks_mhz: dict[str, float]
    temperatures_c: dict[str, float]
    power_mw: dict[str, float]
    throttle_events: dict[str, int]
    throttling: tuple[str, ...]  # what slows it down right now


def probe(root: Path = ROOT) -> DeviceState:
    """Everything that the files under `root` tell now."""
    return DeviceState(
        model=_model(root),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        l4t=_l4t(root),
        power_mode=_power_mode(root),
        clocks_mhz=_clocks(root),
        temperatures_c=_temperatures(root),
        power_mw=power_rails(root),
        throttle_events=_throttle_events(root),
        throttling=throttling(root),
    )


def throttled(before: DeviceState, after: DeviceState, between: Iterable[str] = ()) -> tuple[str, ...]:
    """Reasons to say that the device was slowed down from one moment to another; () = none known. `between`: what `throttling`
    said meanwhile."""
    grown = [name for name, count in after.throttle_events.items() if count > before.throttle_events.get(name, 0)]
    return tuple(sorted({*before.throttling, *between, *after.throttling, *grown}))


def power_mw(root: Path = ROOT) -> float | None:
    """Power of the whole module now: its input rail where it has one, else the sum of its rails, each watt once; None without
    sensors."""
    rails = power_rails(root)
    for name in TOTAL_RAILS:
        if name in rails:
            return rails[name]
    summed = [mw for name, mw in rails.items() if name not in NOT_SUMMED]
    return sum(summed) if summed else None


class PowerMeter:
    """Samples the module's power in a thread, while it is on."""

    def __init__(self, root: Path = ROOT, period_s: float = 0.02) -> None:
        self.samples_mw: list[float] = []
        self._root, self._period_s = root, period_s
        self._on, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PowerMeter:
        if power_mw(self._root) is not None:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._on.set()
        if self._thread.is_alive():
            self._thread.join()

    def on(self) -> None:
        self._on.set()

    def off(self) -> None:
        self._on.clear()

    @property
    def mean_mw(self) -> float | None:
        return sum(self.samples_mw) / len(self.samples_mw) if self.samples_mw else None

    def _sample(self) -> None:
        while self._on.wait() and not self._end.is_set():
            if (power := power_mw(self._root)) is not None:
                self.samples_mw.append(power)
            time.sleep(self._period_s)


def energy_mj(power: float, latency_ms: float) -> float:
    """Energy of one inference: milliwatts times milliseconds are microjoules."""
    return power * latency_ms / 1e3


# ---------------------------------------------------------------- the single readings


def power_rails(root: Path = ROOT) -> dict[str, float]:
    """Milliwatts of every rail that an INA3221, INA238 or INA226 measures."""
    rails: dict[str, float] = {}
    # L4T 32: an iio driver of NVIDIA's own, power in mW
    for folder in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*")):
        for label in sorted(folder.glob("rail_name_*")):
            value = _number(folder / f"in_power{label.name.rsplit('_', 1)[1]}_input")
            if value is not None:
                rails[_text(label)] = value
    # L4T 35 and later: hwmon, mV and mA (INA3221) or microwatts (INA238)
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if _text(folder / "name") in ("ina3221", "ina238", "ina226"):
            rails |= _hwmon_rails(folder)
    return rails


def _hwmon_rails(folder: Path) -> dict[str, float]:
    rails = {}
    for label in sorted(folder.glob("in[0-9]_label")):
        index, name = label.name[2], _text(label)
        voltage, current = _number(folder / f"in{index}_input"), _number(folder / f"curr{index}_input")
        # the chip's own sum of channels would count them twice
        if voltage is not None and current is not None and "sum" not in name.lower():
            rails[name] = voltage * current / 1e3
    microwatts = _number(folder / "power1_input")
    if microwatts is not None:
        rails[_text(folder / "label") or _text(folder / "power1_label") or _text(folder / "in1_label") or "VIN"] = (
            microwatts / 1e3
        )
    return rails


def _model(root: Path) -> str:
    if model := _text(root / "proc/device-tree/model"):
        return model
    processor = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    cores = len(re.findall(r"^processor\s*:", _text(root / "proc/cpuinfo"), re.MULTILINE))
    return f"{processor.group(1)}, {cores} cores" if processor else "unknown"


def _l4t(root: Path) -> str:
    """36.4.0 from "# R36 (release), REVISION: 4.0, ..."."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release"))
    return f"{match.group(1)}.{match.group(2)}" if match else ""


def _power_mode(root: Path) -> str:
    """The name of the mode that nvpmodel last set (numbers mean different modes on different boards), else the governor."""
    status = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status"))
    modes: dict[int, str] = {
        int(number): name for number, name in NVPMODEL_MODE.findall(_text(root / "etc/nvpmodel.conf"))
    }
    if status:
        return modes.get(int(status.group(1)), "")
    return _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _clocks(root: Path) -> dict[str, float]:
    clocks = {}
    for folder in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")):
        if (khz := _number(folder / "scaling_cur_freq")) is not None:
            clocks[folder.parent.name] = khz / 1e3
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        if (hz := _number(folder / "cur_freq")) is not None:
            clocks[folder.name] = hz / 1e6
    if (hz := _number(root / "sys/kernel/debug/clk/emc/clk_rate")) is not None:
        clocks["emc"] = hz / 1e6
    return clocks


def _temperatures(root: Path) -> dict[str, float]:
    """Of zones of the same name the hottest."""
    temperatures: dict[str, float] = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        millidegrees = _number(folder / "temp")
        if millidegrees is not None and millidegrees > -100_000:  # a zone that is off says -256 degrees
            name = _text(folder / "type")
            temperatures[name] = max(millidegrees / 1e3, temperatures.get(name, -100.0))
    return temperatures


def _throttle_events(root: Path) -> dict[str, int]:
    """Over-current events of Jetsons, thermal events of x86; of a Raspberry Pi whether there was each since it started."""
    paths = [
        *root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"),
        *root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"),
    ]
    events = {}
    for path in sorted(paths):
        if (count := _number(path)) is not None:
            events["/".join(path.relative_to(root).parts[-3:])] = int(count)
    if (flags := _firmware_flags(root)) is not None:
        events |= {f"get_throttled: {name}": flags >> (16 + bit) & 1 for bit, name in enumerate(OF_FIRMWARE)}
    return events


def throttling(root: Path = ROOT) -> tuple[str, ...]:
    """What slows the device down right now; a few files are read, so it can be asked while something is timed."""
    reasons = []
    for folder in sorted(root.glob("sys/class/thermal/cooling_device*")):
        kind = _text(folder / "type")
        if any(word in kind.lower() for word in COOLERS_THAT_SLOW) and (_number(folder / "cur_state") or 0) > 0:
            reasons.append(f"cooling: {kind}")
    flags = _firmware_flags(root)
    if flags is not None and flags & 0xF:
        reasons.append(f"firmware: get_throttled {flags:x}")
    return tuple(reasons)


def _firmware_flags(root: Path) -> int | None:
    """Of a Raspberry Pi: bits 0 to 3 are what is in OF_FIRMWARE now, bits 16 to 19 the same at any time since it started."""
    try:
        return int(_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled"), 16)
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:  # absent, or not ours to read
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
