"""Profiles, prediction, calibration, measurement. No torch."""
