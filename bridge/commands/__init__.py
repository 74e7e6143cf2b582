"""The chat door: text → typed commands → the same feature methods that every other door calls."""
