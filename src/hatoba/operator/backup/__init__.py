"""QuayRegistryBackup and QuayRegistryRestore: Jobs that keep registries and bring them back."""
