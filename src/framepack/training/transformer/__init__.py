"""The transformer, trained from nothing or fine-tuned."""
