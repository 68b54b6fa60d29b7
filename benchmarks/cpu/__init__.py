"""Speed on the CPU beside OpenVINO, ONNX Runtime and Paddle Inference (python -m benchmarks.cpu)."""
