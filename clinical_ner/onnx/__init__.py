"""Optional: the encoder on ONNX Runtime."""
