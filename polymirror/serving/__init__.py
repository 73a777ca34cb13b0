"""Listening on this machine: who may call, within which bounds, and how a server lives in somebody else's event loop.

Used by the embedded exchange and by a mirror's status server; needs starlette and uvicorn.
"""
