"""Plain PyTorch, one class after another: the specification that every backend is tested against."""
