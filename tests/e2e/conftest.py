"""What end-to-end tests share: the API of the stack their module has started."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.stacks import Api
from worker.stack import Stack


@pytest.fixture
def api(stack: Stack) -> Iterator[Api]:
    with closing(Api(stack)) as api:
        yield api
        api.faults()  # none: the next test meets healthy upstreams
