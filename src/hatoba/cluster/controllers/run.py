"""All controllers of the cluster, in one task group."""

import asyncio
from typing import Final

from hatoba.cluster.controllers.autoscaler.controller import Autoscaler
from hatoba.cluster.controllers.claims import ClaimController
from hatoba.cluster.controllers.deployment.controller import DeploymentController
from hatoba.cluster.controllers.endpoints.controller import EndpointsController
from hatoba.cluster.controllers.events import EventSink
from hatoba.cluster.controllers.expiry import EventExpiry
from hatoba.cluster.controllers.garbage import GarbageCollector
from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.job.controller import JobController
from hatoba.cluster.controllers.namespaces import NamespaceController
from hatoba.cluster.controllers.replicaset import ReplicaSetController
from hatoba.cluster.controllers.runtime import Context, Controller, supervise
from hatoba.cluster.controllers.scheduler import Scheduler
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.controllers.strays import StrayPods
from hatoba.cluster.node import Node
from hatoba.cluster.objects import Objects
from hatoba.kernel.clock import Clock

CONTROLLERS: Final[tuple[type[Controller], ...]] = (
    NamespaceController,
    GarbageCollector,
    Scheduler,
    DeploymentController,
    ReplicaSetController,
    JobController,
    EndpointsController,
    ClaimController,
    Autoscaler,
    StrayPods,
    EventExpiry,
)


async def run_controllers(
    objects: Objects, node: Node, clock: Clock, settings: ControllerSettings
) -> None:
    """Run every controller until cancelled."""
    informers = Informers(objects)
    sink = EventSink(objects, clock)
    context = Context(
        objects=objects,
        informers=informers,
        sink=sink,
        node=node,
        clock=clock,
        settings=settings,
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sink.run(), name="events")
            for controller in CONTROLLERS:
                group.create_task(supervise(controller(context)), name=controller.name)
    finally:
        await informers.close()
