"""What differs by kind of Space: what to install besides its requirements, and how to start it. One file each."""
