"""
aioice's ICE agent as a process of its own: JSON lines in and out, as foreign-agent.ts describes.
python3 aioice_peer.py --controlling|--controlled [--stun host:port] [--turn json] [--loopback]

aioice 0.8 tells its candidates only when all of them are there, so it signals once. It cannot restart.
"""

import asyncio
import json
import os
import sys

import aioice
import aioice.ice


def emit(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def argument(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def relay():
    """What makes it use a TURN server and nothing else."""
    text = argument("--turn")
    if text is None:
        return {}
    server = json.loads(text)
    if "ca" in server:
        # It takes the system's certificates, which are where OpenSSL is told that they are.
        os.environ["SSL_CERT_FILE"] = server["ca"]
    # Those that it does not offer under this policy it would check from all the same.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: []
    return {
        "turn_server": (server["host"], server["port"]),
        "turn_username": server["username"],
        "turn_password": server["password"],
        "turn_transport": "udp" if server["transport"] == "udp" else "tcp",
        "turn_ssl": server["transport"] == "tls",
        "transport_policy": aioice.ice.TransportPolicy.RELAY,
    }


async def lines():
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def talk(connection):
    await connection.connect()
    pair = connection._nominated[1]
    emit(
        {
            "connected": {
                "controlling": connection.ice_controlling,
                "local": pair.local_candidate.type,
                "remote": pair.remote_candidate.type,
                "address": "%s:%d" % pair.remote_addr,
            }
        }
    )
    answered = asyncio.Event()

    async def ping():
        while not answered.is_set():
            await connection.send(b"ping aioice")
            await asyncio.sleep(0.1)

    pinging = asyncio.ensure_future(ping())
    inbox = set()
    while True:
        text = (await connection.recv()).decode()
        if not text.startswith("pong "):
            await connection.send(("pong " + text).encode())
        if text == "pong ping aioice":
            answered.set()
            await pinging
        if text not in inbox:
            inbox.add(text)
            emit({"received": text})


async def report(work):
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception as error:
        emit({"failed": repr(error)})


async def main():
    if "--loopback" in sys.argv:
        # It has no option for it.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    stun = argument("--stun")
    server = None
    if stun is not None:
        host, port = stun.rsplit(":", 1)
        server = (host, int(port))
    connection = aioice.Connection(
        ice_controlling="--controlling" in sys.argv, stun_server=server, use_ipv6=False, **relay()
    )
    await connection.gather_candidates()
    emit(
        {
            "signal": {
                "v": 1,
                "ufrag": connection.local_username,
                "pwd": connection.local_password,
                "controlling": connection.ice_controlling,
                "candidates": ["candidate:" + c.to_sdp() for c in connection.local_candidates],
                "end": True,
            }
        }
    )
    known = set()
    talking = None
    async for line in lines():
        remote = line["signal"]
        if remote.get("bye"):
            continue
        connection.remote_username = remote["ufrag"]
        connection.remote_password = remote["pwd"]
        for candidate in remote["candidates"]:
            if candidate not in known:
                known.add(candidate)
                await connection.add_remote_candidate(
                    aioice.Candidate.from_sdp(candidate.replace("candidate:", "", 1))
                )
        if remote.get("end") and not connection._remote_candidates_end:
            await connection.add_remote_candidate(None)
        if talking is None:
            talking = asyncio.ensure_future(report(talk(connection)))
    if talking is not None:
        talking.cancel()
    await connection.close()


asyncio.run(main())
