"""The same examples in every run and no clock: the machine is shared, and a red build must be repeatable."""

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
