"""What boards say about themselves, read from folders that imitate their /proc, /sys and /etc."""

import time
from pathlib import Path

import pytest

from edgenas.hardware.device import PowerMeter, energy_mj, power_mw, probe, throttled
from tests.hardware.boards import AGX_ORIN_RAILS, NANO, ORIN_NANO, RASPBERRY_PI, THOR, lay_out


def test_a_jetson_nano_tells_its_release_mode_clocks_and_rails(tmp_path: Path) -> None:
    state = probe(lay_out(tmp_path, NANO))
    assert (state.model, state.l4t, state.power_mode) == ("NVIDIA Jetson Nano Developer Kit", "32.7.1", "5W")
    assert state.clocks_mhz == {"cpu0": 918.0, "57000000.gpu": 640.0, "emc": 1600.0}
    assert state.temperatures_c == {"AO-therm": 45.5, "GPU-therm": 38.0}
    assert state.power_mw == {"POM_5V_IN": 3112.0, "POM_5V_GPU": 164.0, "POM_5V_CPU": 532.0}
    assert state.throttling == ()  # a fan that turns slows nothing down
    assert power_mw(tmp_path) == 3112.0


def test_an_orin_nano_on_jetpack_6_names_its_mode_and_admits_that_it_is_slowed(tmp_path: Path) -> None:
    state = probe(lay_out(tmp_path, ORIN_NANO))
    assert (state.l4t, state.power_mode) == ("36.4.3", "MAXN_SUPER")
    assert state.clocks_mhz == {"cpu0": 1728.0, "cpu5": 729.6, "17000000.gpu": 1020.0}
    assert state.temperatures_c == {"cpu-thermal": 52.281}  # the zone that is off is left out
    assert state.power_mw == {"VDD_IN": 7500.0, "VDD_CPU_GPU_CV": 3000.0, "VDD_SOC": 1500.0}  # 5 V x 1.5 A, ...
    assert power_mw(tmp_path) == 7500.0
    assert state.throttling == ("cooling: cpufreq-cpu0",)
    assert state.throttle_events == {"hwmon/hwmon2/oc1_event_cnt": 0, "hwmon/hwmon2/oc3_event_cnt": 4}


def test_a_thor_on_jetpack_7_has_its_input_on_another_chip(tmp_path: Path) -> None:
    state = probe(lay_out(tmp_path, THOR))
    assert (state.l4t, state.power_mode) == ("38.2.0", "120W")
    assert state.clocks_mhz == {"gpu-gpc-0": 1575.0, "gpu-nvd-0": 1692.0}
    assert state.power_mw == {"VDD_GPU": 8000.0, "VDD_CPU_SOC_MSS": 10000.0, "VIN": 27720.0}
    assert power_mw(tmp_path) == 27720.0


def test_rails_are_summed_where_no_rail_carries_the_whole_module_and_each_watt_counts_once(tmp_path: Path) -> None:
    """NVIDIA: what VDDQ_VDD2_1V8AO measures is a part of VIN_SYS_5V0; NC is connected to nothing."""
    root = lay_out(tmp_path, AGX_ORIN_RAILS)
    assert probe(root).power_mw == {
        "VDD_GPU_SOC": 4000.0, "VDD_CPU_CV": 2000.0, "VIN_SYS_5V0": 6000.0, "VDDQ_VDD2_1V8AO": 2000.0, "NC": 40.0,
    }  # fmt: skip
    assert power_mw(root) == 4000.0 + 2000.0 + 6000.0


def test_a_board_whose_only_rail_is_connected_to_nothing_has_no_power(tmp_path: Path) -> None:
    alone = {name: text for name, text in AGX_ORIN_RAILS.items() if "hwmon5/name" in name or "hwmon5/in1" in name}
    alone["sys/class/hwmon/hwmon5/curr1_input"] = "8\n"
    assert power_mw(lay_out(tmp_path, alone)) is None


def test_a_raspberry_pi_tells_of_under_voltage_and_throttling(tmp_path: Path) -> None:
    state = probe(lay_out(tmp_path, RASPBERRY_PI))
    assert state.power_mode == "ondemand"
    assert state.throttling == ("firmware: get_throttled 50005",)


@pytest.mark.parametrize(
    ("flags", "now"),
    [
        ("0", False),
        ("1", True),
        ("2", True),
        ("4", True),
        ("8", True),
        ("10", False),
        ("50000", False),
        ("f0000", False),
    ],
)
def test_a_raspberry_pi_is_throttled_by_what_is_now_and_not_by_what_was_since_it_started(
    tmp_path: Path, flags: str, now: bool
) -> None:
    files = {**RASPBERRY_PI, "sys/devices/platform/soc/soc:firmware/get_throttled": f"{flags}\n"}
    assert probe(lay_out(tmp_path, files)).throttling == ((f"firmware: get_throttled {flags}",) if now else ())


def test_a_plain_machine_is_asked_without_harm(tmp_path: Path) -> None:
    state = probe(tmp_path)
    assert (state.model, state.l4t, state.power_mw, state.throttling) == ("unknown", "", {}, ())
    assert power_mw(tmp_path) is None
    assert probe().model != ""


def test_an_event_that_was_counted_between_two_moments_means_throttled(tmp_path: Path) -> None:
    files = {**ORIN_NANO, "sys/class/thermal/cooling_device0/cur_state": "0\n"}
    before = probe(lay_out(tmp_path, files))
    assert throttled(before, before) == ()
    after = probe(lay_out(tmp_path, {"sys/class/hwmon/hwmon2/oc3_event_cnt": "5\n"}))
    assert throttled(before, after) == ("hwmon/hwmon2/oc3_event_cnt",)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ("0", "0", ()),
        ("50000", "50000", ()),  # long ago
        ("0", "10000", ("get_throttled: under-voltage",)),
        ("10000", "70000", ("get_throttled: frequency capped", "get_throttled: throttled")),
        ("0", "80000", ("get_throttled: soft temperature limit",)),
        ("70000", "0", ()),  # another program has reset them
        ("no number", "10000", ("get_throttled: under-voltage",)),
        ("0", "", ()),
    ],
)
def test_what_a_raspberry_pi_had_meanwhile_means_throttled(
    tmp_path: Path, before: str, after: str, reasons: tuple[str, ...]
) -> None:
    file = "sys/devices/platform/soc/soc:firmware/get_throttled"
    states = [probe(lay_out(tmp_path, {**RASPBERRY_PI, file: f"{flags}\n"})) for flags in (before, after)]
    assert throttled(states[0], states[1]) == reasons


def test_unreadable_files_are_absent_rather_than_guessed(tmp_path: Path) -> None:
    root = lay_out(tmp_path, {**NANO, "sys/class/devfreq/57000000.gpu/cur_freq": "\n"})
    (root / "var/lib/nvpmodel/status").write_text("pmode:0007\n")  # a mode that the configuration does not know
    state = probe(root)
    assert "57000000.gpu" not in state.clocks_mhz
    assert state.power_mode == ""


def test_the_power_meter_samples_only_while_it_is_on(tmp_path: Path) -> None:
    with PowerMeter(lay_out(tmp_path, NANO), period_s=0.001) as meter:
        meter.on()
        deadline = time.monotonic() + 60
        while len(meter.samples_mw) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        meter.off()
    assert meter.mean_mw == pytest.approx(3112)
    with PowerMeter(tmp_path / "nowhere") as blind:
        blind.on()
    assert blind.mean_mw is None


def test_three_watts_for_ten_milliseconds_are_thirty_millijoules() -> None:
    assert energy_mj(3000, 10) == 30.0


@pytest.mark.parametrize("degrees", [(41, 99, 42), (99, 41, 42), (41, 42, 99)])
def test_of_zones_of_the_same_name_the_hottest_is_told(tmp_path: Path, degrees: tuple[int, ...]) -> None:
    files = {}
    for i, each in enumerate(degrees):
        files |= {
            f"sys/class/thermal/thermal_zone{i}/{name}": text
            for name, text in (("type", "acpitz\n"), ("temp", f"{each}000\n"))
        }
    assert probe(lay_out(tmp_path, files)).temperatures_c == {"acpitz": 99.0}
