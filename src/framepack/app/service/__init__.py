"""The job service: the queue, its workers and its folders, for the page, the HTTP API and batches."""
