"""ONNX models as files and graphs, for the source and the format of that name.

reading.py      opens a file that may come from anybody: no file outside of its folder, no size that is not there
shaping.py      fixes dynamic axes, takes the inputs and outputs that a model declares
cleaning.py     equal models make equal bytes: names for all nodes, nothing of the machine that exported them
running.py      ONNX Runtime on the CPU: as a reference, as an optimiser
half.py         float16
weights.py      int8 weights alone
quantizing.py   int8: dynamic and static, and which nodes belong to one layer
explaining.py   what ONNX Runtime makes of a model
"""
