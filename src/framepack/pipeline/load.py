"""`framepack.load`: what Python, command line, workers and tests call for a model."""

from framepack.pipeline.framepack import FramePack

load = FramePack.load
