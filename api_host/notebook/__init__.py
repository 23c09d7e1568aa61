"""What a person sees of a host that was started by hand: a live card in a notebook's cell, lines elsewhere.

Knows nothing of hosts: it is told addresses and sentences, and reads a host's facts.
"""

from api_host.notebook.announcement import Announcement, announcement_for
from api_host.notebook.kernel import colab_secret, in_notebook

__all__ = ["Announcement", "announcement_for", "colab_secret", "in_notebook"]
