"""Read pictures, detect, frame and classify faces: shared by training and the registered model.

A copy lies in every logged model. So the modules import only each other, by relative imports, and numpy, Pillow, ONNX
Runtime, torch, torchvision and safetensors.
"""
