"""The page of `spcolor serve`: a queue of photos to colour, for browsers."""
