"""The process that stands between a Space and everybody else: one per Space, detached, standard library only."""
