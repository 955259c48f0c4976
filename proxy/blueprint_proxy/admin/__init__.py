"""The operators' side: health, metrics and the control API, off the data path. FastAPI is imported in app.py alone."""
