"""Change one position of a model, at the version it was read at."""

from dataclasses import replace

from domain.errors import AlreadyExists, NotFound, StaleVersion
from domain.ids import ModelId, SecurityId
from domain.model import InvestmentModel, ModelPosition
from tasks.services import Services


def add_position(
    model_id: ModelId, version: int, position: ModelPosition, services: Services
) -> InvestmentModel:
    """The model with one position more.

    Raises:
        NotFound: no such model.
        AlreadyExists: it has a position in this security.
        StaleVersion: it is not at this version.
        Invalid: a rule of models is broken.
    """
    model = _at(model_id, version, services)
    if any(held.security_id == position.security_id for held in model.positions):
        raise AlreadyExists("position", position.security_id)
    return services.models.update_model(replace(model, positions=(*model.positions, position)))


def change_position(
    model_id: ModelId, version: int, position: ModelPosition, services: Services
) -> InvestmentModel:
    """The model with other weights of one security. A target of 0 takes the position out.

    Raises:
        NotFound: no such model, or no position in this security.
        StaleVersion: it is not at this version.
        Invalid: a rule of models is broken.
    """
    model = _at(model_id, version, services)
    _require(model, position.security_id)
    changed = (position if held.security_id == position.security_id else held for held in model.positions)
    return services.models.update_model(replace(model, positions=tuple(changed)))


def remove_position(
    model_id: ModelId, version: int, security_id: SecurityId, services: Services
) -> InvestmentModel:
    """The model without a position in this security.

    Raises:
        NotFound: no such model, or no position in this security.
        StaleVersion: it is not at this version.
    """
    model = _at(model_id, version, services)
    _require(model, security_id)
    left = tuple(held for held in model.positions if held.security_id != security_id)
    return services.models.update_model(replace(model, positions=left))


def _at(model_id: ModelId, version: int, services: Services) -> InvestmentModel:
    """The model as it stands; the write compares the version again."""
    model = services.models.get_model(model_id)
    if model.version != version:
        raise StaleVersion("model", model_id, version)
    return model


def _require(model: InvestmentModel, security_id: SecurityId) -> None:
    if all(held.security_id != security_id for held in model.positions):
        raise NotFound("position", security_id)
