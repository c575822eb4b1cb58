"""HunyuanVideo with FramePack's packed context (arXiv 2412.03603, 2504.12626)."""
