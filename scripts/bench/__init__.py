"""What the benchmarks are made of: a server that plays the provider, clients in processes of their own, and the sections."""
