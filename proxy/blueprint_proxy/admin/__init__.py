"""The operators' and the jobs' side, off the data path. Only app.py and the modules of routes import FastAPI."""
