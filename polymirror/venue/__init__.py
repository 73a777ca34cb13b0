"""The edge to the venue: its WebSocket, its order book REST service and its discovery service.

Everything that does I/O lives here; :mod:`polymirror.mirror` wires it to the pure engine. Nothing in this
package judges a book.
"""
