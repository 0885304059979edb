"""What the checks of providers.yaml and of profiles share: units, names, positions, suggestions."""
