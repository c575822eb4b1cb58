"""The video VAE, trained from nothing."""
