"""What lies on disk: whole files, tables, partitions, signatures, a run's folder."""
