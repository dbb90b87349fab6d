"""Alignment, verification metrics, detectors, gallery. No torch."""
