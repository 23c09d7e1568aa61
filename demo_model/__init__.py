"""The script and the text that made the demo model in ``api_host/models/demo``; not part of either package."""
