"""Exported PyTorch programs (PyTorch 2 Export) as graphs to quantize: what the PyTorch formats share.

    graph.py        opens program.pt2 as one flat graph, folds batch normalisations, names the layers
    embeddings.py   int8 rows with a scale each, from operators that every runtime has
    half.py         float32 to float16: weights only, or the computation as well
    native.py       quantizes into PyTorch's own quantized operators (fbgemm, qnnpack), for `torchscript`
    xnnpack.py      PT2E of torchao with the quantizer of XNNPACK, for `executorch`

A *layer* is what owns a weight, and is called as in the model: the weight `features.3.weight` belongs to the layer
`features.3`. A layer that a recipe keeps is left in floating point with all that belongs to it. Ranges of activations
are the smallest and the largest value over all calibration samples.
"""
