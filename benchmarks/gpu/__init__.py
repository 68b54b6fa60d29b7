"""Speed on an NVIDIA GPU beside ONNX Runtime and Paddle Inference (python -m benchmarks.gpu)."""
