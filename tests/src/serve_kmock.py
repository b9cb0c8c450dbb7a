"""Serves kmock's Kubernetes on a free port of 127.0.0.1 until its standard input ends. Prints where."""

import asyncio
import sys

import kmock

# kind, plural: what the tests' client asks for.
RESOURCES = {"Pod": "pods", "Node": "nodes", "ConfigMap": "configmaps"}


async def main() -> None:
    async with kmock.KubernetesEmulator() as handler, kmock.Server(handler) as server:
        for kind, plural in RESOURCES.items():
            handler.resources[f"v1/{plural}"] = kmock.ResourceInfo(
                kind=kind, singular=kind.lower(), namespaced=kind != "Node", verbs={"get", "list", "watch"}
            )
        print(server.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
