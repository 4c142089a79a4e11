"""The dialects: each a Protocol that turns bytes into steps, over one shared `Pipeline`."""
