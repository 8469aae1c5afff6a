"""What the documentation says to type: found in its pages, and typed in a machine of its own."""
