"""Training: procedural clips, the mini model's VAE and transformer, fine-tuning. Knows the pipeline's classes, not the
application.
"""
