"""What runs the core on asyncio, in parts: clocks, timers, subscribers, tasks and warnings."""
