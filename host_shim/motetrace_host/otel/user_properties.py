"""MQTT 5 user properties, as paho keeps them, as a carrier for any OpenTelemetry propagator."""

from __future__ import annotations

from opentelemetry.propagators.textmap import Getter, Setter

UserProperties = list[tuple[str, str]]


class UserPropertyGetter(Getter[UserProperties]):
    """Reads a list of pairs; a repeated name gives all its values, so that a propagator can refuse it."""

    def get(self, carrier: UserProperties, key: str) -> list[str] | None:
        """Return the values of one name, in their order; None when it is absent."""
        return [value for name, value in carrier if name == key] or None

    def keys(self, carrier: UserProperties) -> list[str]:
        """Return the names, each once."""
        return list(dict(carrier))


class UserPropertySetter(Setter[UserProperties]):
    """Writes into a list of pairs; the name is there once afterwards, behind all others."""

    def set(self, carrier: UserProperties, key: str, value: str) -> None:
        """Replace every pair of that name by this one."""
        carrier[:] = [pair for pair in carrier if pair[0] != key]
        carrier.append((key, value))


GETTER = UserPropertyGetter()
SETTER = UserPropertySetter()
