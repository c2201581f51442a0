# expect: passed
# test: assert f() == []
# why: a server that waits for others; the library may say that it serves without a single socket
import asyncio


def f():
    async def serve(*arguments):
        try:
            return list((await asyncio.start_server(lambda reader, writer: None, *arguments)).sockets)
        except PermissionError:
            return []

    return asyncio.run(serve("127.0.0.1", 0)) + asyncio.run(serve("::1", 0))
