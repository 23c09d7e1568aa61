"""The client of an API Host: one import on a laptop.

from api_host_client import Client
client = Client(url, token)
print(client.chat("Hello"))
"""

from api_host_client import errors
from api_host_client.client import Client
from api_host_client.errors import (
    BadAnswer,
    BadArgument,
    ClientError,
    ConnectionFailed,
    EdgeError,
    HostError,
    StreamCut,
)
from api_host_client.stream import Stream
from api_host_client.types import (
    Answer,
    Choice,
    Chunk,
    Health,
    Model,
    Progress,
    Timings,
    Usage,
    Waiting,
)
from api_host_client.version import __version__

__all__ = [
    "Answer",
    "BadAnswer",
    "BadArgument",
    "Choice",
    "Chunk",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "EdgeError",
    "Health",
    "HostError",
    "Model",
    "Progress",
    "Stream",
    "StreamCut",
    "Timings",
    "Usage",
    "Waiting",
    "__version__",
    "errors",
]
