"""`spcolor video`: colour a film, frame after frame, with one reference or many."""
