"""The converter chain: a model and recipes in, proven artifacts out.

load        which model is meant, what belongs to it, whether it may be executed
sources/    one module a kind of source: how to run it for reference, and how to export it for the formats
formats/    one module a format: what it accepts, which precisions it has, how it converts
chain       plans the steps, looks them up in the cache, runs each in a worker, publishes artifacts
workers     worker processes: their log, their bounds, their end
worker      what runs in one: the source step, the lowering step, or one recipe
prove       parity and accuracy of a payload against its source, golden inputs and outputs
"""

from edgekit.convert.chain import DONE, Outcome, convert
from edgekit.convert.load import ModelRef, find_model

__all__ = ["DONE", "ModelRef", "Outcome", "convert", "find_model"]
