# expect: passed
# seconds: 5
# why: coroutines that wait for each other
import asyncio


def f(x):
    async def half(y):
        await asyncio.sleep(0.001)
        return y

    async def whole():
        return sum(await asyncio.gather(*[half(x) for _ in range(2)]))

    return asyncio.run(whole())
