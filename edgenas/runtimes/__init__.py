"""Running exported models: ONNX Runtime, TensorRT. No torch."""
