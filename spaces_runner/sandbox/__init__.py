"""How a Space is kept from what is not its own. Knows processes and files, no Space."""
