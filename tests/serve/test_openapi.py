"""The service against its own description (schemathesis): requests that it allows and such that it does not, many
strange strings among them. No answer is a server error, or a status or body that the description does not name."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from tests.serve.small import Client, publish, serving, write_run

schemathesis = pytest.importorskip("schemathesis", reason="the extra `dev` is not installed")
checks = importlib.import_module("schemathesis.specs.openapi.checks")
# Imported before the service's thread runs: up to 3.11.7, Python fails where two threads parse sources at once, and
# pytest parses the modules of its plugins, of which these two packages are.
for late in ("schemathesis.specs.openapi.schemas", "anyio._backends._asyncio"):
    importlib.import_module(late)
# A schema cannot say that a surface has to be known, and parameters that nobody knows are passed over.
LEFT_OUT = [checks.positive_data_acceptance, checks.negative_data_rejection]
TOKEN = "operator-token-0123456"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = 25
"""Requests of each operation and of each kind."""


@pytest.mark.slow
def test_every_answer_is_one_that_the_description_names(tmp_path: Path) -> None:
    publish(tmp_path / "snapshots")
    asked, answered = Counter[str](), Counter[int]()
    (tmp_path / "tokens").write_text(f"operator {TOKEN}\n")
    with serving(tmp_path / "snapshots", run=write_run(tmp_path / "run"), tokens=tmp_path / "tokens") as client:
        described = client.get("/openapi.json")
        schema = schemathesis.openapi.from_dict(described)
        schema.config.update(base_url=f"http://127.0.0.1:{client.port}")
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

                @seed(0)
                @settings(
                    max_examples=EXAMPLES,
                    database=None,
                    deadline=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: schemathesis.Case) -> None:
                    response = case.call(headers=OPERATOR)
                    asked[case.operation.label] += 1
                    answered[response.status_code] += 1
                    case.validate_response(response, headers=OPERATOR, excluded_checks=LEFT_OUT)

                # Of an operation without a body or a parameter no wrong request can be made.
                with warnings.catch_warnings(action="ignore"), contextlib.suppress(Unsatisfiable):
                    ask()
        Client(client.port).get("/readyz")
    assert len(asked) == sum(len(methods) for methods in described["paths"].values())
    assert answered[200] > 100
    assert answered[422] > 50
    assert not any(status >= 500 for status in answered)
