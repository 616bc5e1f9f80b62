"""What each command does: its words are read, a room is asked, and what that says is shown.

Heavy libraries are imported inside the commands, so that ``--help`` answers at once.
"""

import features  # noqa: F401  # before numpy, whose threads it settles
