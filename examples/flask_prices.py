"""The best prices of a market over HTTP: Flask, and a mirror in a thread of its own.

    python examples/flask_prices.py SLUG                  (and then: curl http://127.0.0.1:5000/prices/up)

What may not be read is 503 with the reason in words, never an old price. Needs ``pip install flask``.
"""

import sys

from flask import Flask
from flask.typing import ResponseReturnValue

from polymirror import BackgroundMirror, MirrorBusy, NotLive


def make_app(mirror: BackgroundMirror) -> Flask:
    """Serve the books of a mirror that runs."""
    app = Flask(__name__)
    tokens = {token.outcome.lower(): token.id for market in mirror.markets for token in market.tokens}

    @app.get("/prices/<outcome>")
    def prices(outcome: str) -> ResponseReturnValue:
        if outcome not in tokens:
            return {"error": f"no such outcome: there are {sorted(tokens)}"}, 404
        try:
            top = mirror.top(tokens[outcome], max_proof_age=2.0)
        except (NotLive, MirrorBusy) as refused:
            return {"error": str(refused)}, 503
        bid, ask = top.best_bid, top.best_ask  # None: nobody bids, or asks
        return {"bid": bid and str(bid.price), "ask": ask and str(ask.price), "age": top.verified_age}

    return app


if __name__ == "__main__":
    with BackgroundMirror.for_slug(sys.argv[1]) as mirror:
        mirror.wait_live(timeout=60)  # until the market is found, it has no tokens; why not is in what this raises
        make_app(mirror).run()
