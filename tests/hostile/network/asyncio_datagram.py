# expect: forbidden | exception
# why: the event loop has ways of its own
import asyncio


def f(x):
    async def send():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", HOST_UDP)
        )
        transport.sendto(b"secret")

    asyncio.run(send())
    return x * x
