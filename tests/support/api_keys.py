"""API keys for tests, and a client that carries one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from adapters.inbound.keys import ApiKey, Role


@dataclass
class StaticKeys:
    """Keys by their whole text, here the role's name."""

    by_text: dict[str, ApiKey] = field(default_factory=dict)

    @classmethod
    def one_a_role(cls) -> "StaticKeys":
        """The key ``read`` has the role read, and so on."""
        return cls({str(role): api_key([role], key_id=f"{number:012x}") for number, role in enumerate(Role)})

    def find(self, text: str) -> ApiKey | None:
        return self.by_text.get(text)

    def standing(self, key_id: str) -> ApiKey | None:
        return next((key for key in self.by_text.values() if key.key_id == key_id), None)


def api_key(roles: Iterable[Role], *, key_id: str = "0123456789ab") -> ApiKey:
    return ApiKey(
        key_id=key_id,
        name="tests",
        roles=frozenset(roles),
        sha256="0" * 64,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}
