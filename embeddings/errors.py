"""The one exception that people are meant to read."""


class CurationError(Exception):
    """Trouble the curator can act on: the message is one line and says how.

    The app and the command line print it as it is. Everything else is a bug and keeps its
    traceback.
    """
