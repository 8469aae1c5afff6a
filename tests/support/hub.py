"""A stand-in for the Hub on loopback: git over smart HTTP, Git LFS, and the API routes that are needed."""
