"""`hatoba editor`: the quay-config-editor pod."""

import contextlib
import sys
from collections.abc import AsyncIterator

import click

from hatoba.telemetry.logs import configure_logging
from hatoba.telemetry.metrics import share_metrics


@click.group()
def editor() -> None:
    """Edit config.yaml in a browser."""


@editor.command()
@click.option("--port", default=8080, show_default=True, help="Port to listen on.")
def serve(port: int) -> None:
    """Serve the form for the configuration in QUAYCONF; sign in as quayconfig."""
    share_metrics()
    from hatoba.config.loader import environment  # noqa: PLC0415 -- after share_metrics
    from hatoba.editor.app import Editor  # noqa: PLC0415
    from hatoba.editor.handover import OperatorRecipient, Recipient  # noqa: PLC0415
    from hatoba.editor.protection import Protection  # noqa: PLC0415
    from hatoba.editor.settings import load_settings  # noqa: PLC0415
    from hatoba.kernel.errors import HatobaError  # noqa: PLC0415
    from hatoba.net.http import HttpClient, open_session  # noqa: PLC0415
    from hatoba.serving.asgi import Application  # noqa: PLC0415
    from hatoba.serving.listeners import Listener  # noqa: PLC0415
    from hatoba.serving.supervisor import serve as serve_forked  # noqa: PLC0415
    from hatoba.serving.worker import Worker  # noqa: PLC0415

    configure_logging()
    try:
        settings = load_settings()
    except HatobaError as error:
        raise click.ClickException(error.message) from error

    @contextlib.asynccontextmanager
    async def application(_worker: Worker) -> AsyncIterator[Application]:
        # The operator's address is the cluster's own, and private.
        async with open_session(allow_private=True) as session:
            recipient: Recipient | None = None
            if settings.operator is not None:
                recipient = OperatorRecipient(
                    operator=settings.operator,
                    password=settings.password,
                    client=HttpClient(session=session),
                )
            yield Editor(
                settings=settings,
                protection=Protection(password=settings.password),
                recipient=recipient,
            ).application()

    host = environment().get("HATOBA_BIND") or "0.0.0.0"  # noqa: S104 -- as pods do
    sys.exit(serve_forked(application, listeners=[Listener(host=host, port=port)]))
