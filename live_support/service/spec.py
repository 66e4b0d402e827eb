"""ServiceSpec: describes a service before its code is loaded. `SERVICES` is the table of all."""

import pkgutil
from typing import Any, Final, NamedTuple

from live_support.environment import PREFIX
from live_support.settings import Settings


class ServiceSpec(NamedTuple):
    """Describes a service without importing it, so that a command loads only the code that it runs."""

    key: str
    """The command that runs it, and its name in the AsyncAPI document."""
    name: str
    """Its name in the logs and on the docs pages."""
    factory: str
    """The function that builds its `Service` from settings, as `module:function`."""
    port_field: str
    """The field of `Settings` that holds its port."""

    def port(self, settings: Settings) -> int:
        """Return its port in the settings; 0 for any free one."""
        return int(getattr(settings, self.port_field))

    @property
    def port_variable(self) -> str:
        """The environment variable of its port."""
        return PREFIX + self.port_field.upper()

    def create(self, settings: Settings) -> Any:
        """Build its `Service`."""
        return pkgutil.resolve_name(self.factory)(settings)


CHAT_SERVER: Final = ServiceSpec("chat-server", "ChatServer", "api.app:create_service", "chat_port")
SUBSCRIBER: Final = ServiceSpec("subscriber", "Subscriber", "subscriber.app:create_service", "subscriber_port")
SERVICES: Final = {spec.key: spec for spec in (CHAT_SERVER, SUBSCRIBER)}
"""All services, by key."""
