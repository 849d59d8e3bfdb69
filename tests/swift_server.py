"""OpenStack Swift itself in one process: proxy, account, container and object server on loopback.

Run as a program by `swift_storage`, in an interpreter of its own: eventlet changes the standard
library. It prints the proxy's port. Objects are kept in memory (Swift's own `mem_server`), so that
any file system will do. Users and tokens are those of `tempauth`, Swift's own authentication.
"""

import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

# ruff: noqa: E402 -- the standard library has to be patched before anything else is imported
from eventlet import wsgi
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

_PROXY = """
[DEFAULT]
swift_dir = {directory}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors cache tempurl tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
conn_timeout = 60
recheck_container_existence = 0
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
paste.filter_factory = tests.swift_server:remembering
[filter:tempurl]
use = egg:swift#tempurl
allowed_digests = sha1 sha256 sha512
[filter:tempauth]
use = egg:swift#tempauth
user_harbour_master = sesame .admin
user_harbour_guest = sesame
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
_SERVER = """
[DEFAULT]
devices = {directory}/devices
mount_check = false
swift_dir = {directory}
log_level = ERROR
[pipeline:main]
pipeline = server
[app:server]
{app}
"""
_SERVERS = {
    "account": "use = egg:swift#account",
    "container": "use = egg:swift#container",
    "object": "paste.app_factory = swift.obj.mem_server:app_factory",
}


class _Memory:
    """What Swift asks of memcached, for a single process."""

    def __init__(self):
        self._kept = {}

    def get(self, key, *_, **__):
        return self._kept.get(key)

    def set(self, key, value, *_, **__):
        self._kept[key] = value

    def delete(self, key, *_, **__):
        self._kept.pop(key, None)

    def incr(self, key, delta=1, **_):
        self._kept[key] = max(0, self._kept.get(key, 0) + delta)
        return self._kept[key]

    def decr(self, key, delta=1, **_):
        return self.incr(key, -delta)


def remembering(_global, **_):
    memory = _Memory()

    def filtered(app):
        def call(environ, start_response):
            environ["swift.cache"] = memory
            return app(environ, start_response)

        return call

    return filtered


def _ring(directory, name, port):
    builder = RingBuilder(1, 1, 0)
    builder.add_dev(
        {"zone": 0, "region": 0, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"}
    )
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{name}.ring.gz"))


def main(directory: Path) -> None:
    (directory / "devices/disk").mkdir(parents=True)
    (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    utils.SWIFT_CONF_FILE = str(directory / "swift.conf")
    utils.validate_hash_conf()
    sockets = {name: eventlet.listen(("127.0.0.1", 0)) for name in _SERVERS}
    for name, listening in sockets.items():
        _ring(directory, name, listening.getsockname()[1])
        text = _SERVER.format(directory=directory, app=_SERVERS[name])
        (directory / f"{name}.conf").write_text(text)
        app = loadapp(str(directory / f"{name}.conf"))
        eventlet.spawn(wsgi.server, listening, app, log_output=False)
    (directory / "proxy.conf").write_text(_PROXY.format(directory=directory))
    app = loadapp(str(directory / "proxy.conf"))
    listening = eventlet.listen(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    wsgi.server(listening, app, log_output=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
