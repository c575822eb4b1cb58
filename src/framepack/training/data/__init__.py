"""What is trained on: clips, pictures, captions and tokenizers, made by program."""
