"""A TCP proxy of our own between gateways and a provider: passes bytes, cuts every connection, or
lets them stand and passes nothing, as a network does that drops packets without a word."""

import asyncio
import threading


class FaultProxy:
    """Listens on `address` and a port of its choice, in a thread with a loop of its own."""

    def __init__(self, address, target_port):
        self.address, self.target_port = address, target_port
        self.refusing, self.writers, self.passes = False, set(), asyncio.Event()
        self.passes.set()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = self.call(asyncio.start_server(self.serve, address, 0))
        self.endpoint = f"{address}:{self.server.sockets[0].getsockname()[1]}"

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def serve(self, reader, writer):
        if self.refusing:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection(self.address, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, there[1]}
        await asyncio.gather(self.pump(reader, there[1]), self.pump(there[0], writer))
        self.writers -= {writer, there[1]}

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.passes.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    @property
    def silent(self):
        """Whether what comes is kept back; it is passed on when the silence ends."""
        return not self.passes.is_set()

    @silent.setter
    def silent(self, silent):
        self.loop.call_soon_threadsafe(self.passes.clear if silent else self.passes.set)

    def count(self):
        """Connections that there are now."""
        return len(self.writers) // 2

    async def abort_all(self):
        for writer in self.writers:
            writer.transport.abort()

    def cut(self):
        self.call(self.abort_all())
