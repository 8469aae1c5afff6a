"""Source -> patched source and diff: every launch of Gradio's shares, and no other `.launch` is touched."""
