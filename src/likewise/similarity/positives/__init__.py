"""Which other images are positives, found without labels: neighbours, graphs, clusters."""
