"""What goes wrong when a dashboard is drawn."""


class PictureError(Exception):
    """A dashboard that can't be drawn as it is; the text is for the user."""


class Unsupported(PictureError):
    """The dashboard uses what the renderer doesn't know."""


class QueryError(PictureError):
    """Prometheus didn't answer a query, or not with a result."""
