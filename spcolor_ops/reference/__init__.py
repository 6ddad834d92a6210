"""Plain PyTorch, one class after another: the specification of every backend."""
