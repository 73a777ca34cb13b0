"""What went wrong, in words: a bundle of an incident read again by somebody who did not take part.

It shares nothing with the engine that it judges: it reads the venue's messages by itself, follows the books as plain
dictionaries, and computes the venue's hash on its own.
"""
