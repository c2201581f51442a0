# expect: timeout
# why: a loop of events that never come
import asyncio


def f(x):
    asyncio.new_event_loop().run_forever()
