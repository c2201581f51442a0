# expect: forbidden | exception
# why: processes by way of the event loop
import asyncio


def f(x):
    async def start():
        await asyncio.create_subprocess_exec("/bin/true")

    asyncio.run(start())
    return x * x
