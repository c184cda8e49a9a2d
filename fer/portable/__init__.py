"""What training and the registered model share: reading a picture, finding and framing its faces.

A copy lies in every logged model. So the modules import only each other, by relative imports, and numpy, Pillow, ONNX
Runtime, torch, torchvision and safetensors.
"""
