"""What the NVIDIA driver says of the GPUs, and which device each worker process gets."""
