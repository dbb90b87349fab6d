"""Folders that imitate / of three Jetsons and a Raspberry Pi, file by file as their systems lay them out."""

from pathlib import Path

NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/sys/kernel/osrelease": "4.9.253-tegra\n",
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=5W >\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "918000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "640000000\n",
    "sys/kernel/debug/clk/emc/clk_rate": "1600000000\n",
    "sys/class/thermal/thermal_zone0/type": "AO-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "45500\n",
    "sys/class/thermal/thermal_zone2/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone2/temp": "38000\n",
    "sys/class/thermal/cooling_device0/type": "gpu-balanced\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "3112\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": "164\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_2": "POM_5V_CPU\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power2_input": "532\n",
}

ORIN_NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": (
        "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
        "< PM_CONFIG DEFAULT=1 >\n"
    ),
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1728000\n",
    "sys/devices/system/cpu/cpu5/cpufreq/scaling_cur_freq": "729600\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "52281\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",
    "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1500\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr2_input": "600\n",
    "sys/class/hwmon/hwmon1/in3_label": "VDD_SOC\n",
    "sys/class/hwmon/hwmon1/in3_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr3_input": "300\n",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/class/hwmon/hwmon1/in7_input": "24\n",
    "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "4\n",
}

THOR = {
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/sys/kernel/osrelease": "6.8.12-tegra\n",
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n< PM_CONFIG DEFAULT=1 >\n",
    "var/lib/nvpmodel/status": "pmode:0001\n",
    "sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n",
    "sys/class/devfreq/gpu-nvd-0/cur_freq": "1692000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "41000\n",
    "sys/class/hwmon/hwmon3/name": "ina3221\n",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_GPU\n",
    "sys/class/hwmon/hwmon3/in1_input": "16000\n",
    "sys/class/hwmon/hwmon3/curr1_input": "500\n",
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU_SOC_MSS\n",
    "sys/class/hwmon/hwmon3/in2_input": "16000\n",
    "sys/class/hwmon/hwmon3/curr2_input": "625\n",
    "sys/class/hwmon/hwmon4/name": "ina238\n",
    "sys/class/hwmon/hwmon4/in1_input": "19800\n",
    "sys/class/hwmon/hwmon4/curr1_input": "1400\n",
    "sys/class/hwmon/hwmon4/power1_input": "27720000\n",
}

AGX_ORIN_RAILS = {
    "sys/class/hwmon/hwmon4/name": "ina3221\n",
    "sys/class/hwmon/hwmon4/in1_label": "VDD_GPU_SOC\n",
    "sys/class/hwmon/hwmon4/in1_input": "20000\n",
    "sys/class/hwmon/hwmon4/curr1_input": "200\n",
    "sys/class/hwmon/hwmon4/in2_label": "VDD_CPU_CV\n",
    "sys/class/hwmon/hwmon4/in2_input": "20000\n",
    "sys/class/hwmon/hwmon4/curr2_input": "100\n",
    "sys/class/hwmon/hwmon4/in3_label": "VIN_SYS_5V0\n",
    "sys/class/hwmon/hwmon4/in3_input": "20000\n",
    "sys/class/hwmon/hwmon4/curr3_input": "300\n",
    "sys/class/hwmon/hwmon5/name": "ina3221\n",
    "sys/class/hwmon/hwmon5/in1_label": "NC\n",
    "sys/class/hwmon/hwmon5/in1_input": "5000\n",
    "sys/class/hwmon/hwmon5/curr1_input": "8\n",
    "sys/class/hwmon/hwmon5/in2_label": "VDDQ_VDD2_1V8AO\n",
    "sys/class/hwmon/hwmon5/in2_input": "5000\n",
    "sys/class/hwmon/hwmon5/curr2_input": "400\n",
}

RASPBERRY_PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "81000\n",
}


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
