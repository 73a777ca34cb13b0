"""For tests of bots: a venue whose books a test writes down, in virtual time, with a mirror of it.

With pytest there is nothing to import: the fixtures ``venue`` and ``mirror`` are there once polymirror is installed
(``pytest_polymirror`` offers them). :func:`play` does the same for one function at a time: for property-based tests,
other test runners and notebooks. :mod:`polymirror.testing.strategies` has the strategies for hypothesis.
"""

from polymirror.testing.book import Book
from polymirror.testing.config import StageConfig
from polymirror.testing.participant import Participant
from polymirror.testing.script import Step, perform
from polymirror.testing.stage import Stage, play
from polymirror.testing.venue import RunningFault, StagedVenue

__all__ = ["Book", "Participant", "RunningFault", "Stage", "StageConfig", "StagedVenue", "Step", "perform", "play"]
