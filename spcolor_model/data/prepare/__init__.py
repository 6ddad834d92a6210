"""`spcolor prepare`: from folders of photos to a manifest of targets and their references."""
