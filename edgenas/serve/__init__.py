"""Bundle -> HTTP: Open Inference Protocol v2 (JSON and binary tensors), images, health, metrics. No torch."""
