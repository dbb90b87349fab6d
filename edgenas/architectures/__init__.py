"""What a network is, as data: architectures, and the workloads that devices execute. No torch."""
