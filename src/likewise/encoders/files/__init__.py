"""Encoders in files of other forms than safetensors: ONNX, and networks of one bit a weight."""
