"""Networks: tensors in, tensors out. Knows nothing of requests, jobs, files or devices."""
