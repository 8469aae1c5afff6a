"""The tabs of the page, one file each. None imports torch."""
