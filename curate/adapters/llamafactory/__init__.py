"""LLaMA-Factory: continual pretraining on multimodal documents, and a launcher that makes it possible."""
