"""What the numbers mean: words, definitions and their reference computation, as pure functions over events."""
