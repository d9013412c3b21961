"""What runs Trimtab elsewhere agrees with the code: image, compose file, Kubernetes manifests."""

import json
import re
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from adapters.metrics.catalogue import METRICS
from config.settings import FILE_SUFFIX, FROM_FILES, PREFIX, Settings, load_settings
from worker import __version__

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
MANIFESTS = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))
SCALED_OBJECT = json.loads((ROOT / "tests/support/keda-scaled-object.schema.json").read_text())
NEWEST = "1.37"
# One name of the image's user, wherever it is told.
USER = 10001


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def of_kind(kind: str) -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from (document for document in documents(path) if document["kind"] == kind)


DEPLOYMENTS = {each["metadata"]["name"]: each for each in of_kind("Deployment")}
PODS = {name: each["spec"]["template"]["spec"] for name, each in DEPLOYMENTS.items()}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def ours() -> dict[str, dict[str, Any]]:
    """The services of the compose file that run our image."""
    return {
        name: service
        for name, service in compose()["services"].items()
        if service["image"].startswith("trimtab:")
    }


def config_map() -> Mapping[str, str]:
    (settings,) = of_kind("ConfigMap")
    data: Mapping[str, str] = settings["data"]
    return data


# ------------------------------------------------------------------------------------------------ by schema


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_what_kubernetes_expects_and_holds_no_unknown_name(path: Path) -> None:
    for document in documents(path):
        if document["kind"] == "ScaledObject":
            jsonschema.Draft202012Validator(SCALED_OBJECT).validate(document)
        else:
            kubernetes_validate.validate(document, NEWEST, strict=True)  # an unknown kind raises, too


def test_a_misspelt_name_in_a_manifest_would_be_found() -> None:
    deployment = documents(KUBERNETES / "api.yaml")[0]
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)

    (scaled,) = of_kind("ScaledObject")
    scaled["spec"]["triggers"][0]["metadata"]["limit"] = "60"
    with pytest.raises(jsonschema.ValidationError, match="limit"):
        jsonschema.Draft202012Validator(SCALED_OBJECT).validate(scaled)


def test_every_manifest_is_in_a_kustomization_but_the_pattern_of_the_secrets() -> None:
    listed = {
        (path.parent / name).relative_to(KUBERNETES).as_posix()
        for path in KUSTOMIZATIONS
        for name in documents(path)[0]["resources"]
    }
    there = {path.relative_to(KUBERNETES).as_posix() for path in MANIFESTS}

    assert there - listed == {"secrets.example.yaml"}
    assert listed <= there


# ------------------------------------------------------------------------------------------------ the compose files


def test_the_api_of_the_compose_file_answers_to_names_of_loopback_only() -> None:
    api = compose()["services"]["api"]

    assert json.loads(api["environment"]["TRIMTAB_API_HOSTS"]) == ["localhost", "127.0.0.1"]
    assert api["ports"] == ["127.0.0.1:8080:8080"]


def test_compose_opens_the_api_to_others_only_where_it_asks_for_keys() -> None:
    api = yaml.safe_load((ROOT / "deploy/compose.keys.yml").read_text())["services"]["api"]
    (port,) = api["ports"]

    assert api["environment"]["TRIMTAB_API_WITHOUT_KEYS"] == "false"
    assert port == "${TRIMTAB_PUBLISH:-127.0.0.1:8081}:8080"  # one more: those of the first file stay
    assert "TRIMTAB_PUBLISH" not in (ROOT / "docker-compose.yml").read_text()
    assert "TRIMTAB_PUBLISH=" in (ROOT / "docs/how-to-deploy.md").read_text()


def test_compose_hands_schedules_on_and_has_none_unless_told() -> None:
    for name in ("beat", "api"):
        handed = compose()["services"][name]["environment"]["TRIMTAB_SCHEDULES"]
        default = handed.removeprefix("${TRIMTAB_SCHEDULES:-").removesuffix("}")
        assert handed != default
        assert load_settings(schedules=json.loads(default)).schedules == ()


def test_a_container_sees_the_folder_of_the_keys_so_that_a_revoked_one_ends() -> None:
    """A mount of the file alone goes on showing the one that was there at the start."""
    api = yaml.safe_load((ROOT / "deploy/compose.keys.yml").read_text())["services"]["api"]
    (mount,) = api["volumes"]

    folder, _, name = api["environment"]["TRIMTAB_API_KEYS_FILE"].rpartition("/")
    assert mount["target"] == folder
    assert mount["read_only"]
    assert mount["source"] == "${TRIMTAB_KEYS:-./keys}"
    assert f"--file keys/{name}" in (ROOT / "docs/how-to-deploy.md").read_text()


def test_traces_reach_a_collector() -> None:
    ports = {
        port["port"]
        for policy in of_kind("NetworkPolicy")
        for rule in policy["spec"].get("egress", ())
        for port in rule.get("ports", ())
    }
    assert 4318 in ports


# ------------------------------------------------------------------------------------------------ the numbers


def test_whoever_stops_a_process_has_the_patience_that_the_code_needs() -> None:
    """Grace period, then a solver inside native code that ends at its limit, and 5 s to hand back and close."""
    settings = {name: field.default for name, field in Settings.model_fields.items()}
    told = {**{f"{PREFIX}{name.upper()}": value for name, value in settings.items()}, **config_map()}
    needed = ceil(
        float(told["TRIMTAB_SHUTDOWN_GRACE_SECONDS"]) + float(told["TRIMTAB_SOLVER_TIME_LIMIT_SECONDS"]) + 5
    )

    assert {pod["terminationGracePeriodSeconds"] for pod in PODS.values()} == {needed}
    assert {service["stop_grace_period"] for service in ours().values()} == {f"{needed}s"}
    assert f"=  {needed} s" in (ROOT / "docs/operations.md").read_text()


def test_the_api_listens_until_nobody_is_sent_to_it_any_more_and_still_has_its_grace_period() -> None:
    (container,) = PODS["trimtab-api"]["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    grace = Settings.model_fields["shutdown_grace_seconds"].default
    assert 0 < pause + grace < PODS["trimtab-api"]["terminationGracePeriodSeconds"]


def test_seats_are_enough_for_the_workers_of_the_manifests() -> None:
    (container,) = PODS["trimtab-worker"]["containers"]
    children = next(
        int(each["value"]) for each in container["env"] if each["name"] == "TRIMTAB_WORKER_CONCURRENCY"
    )

    workers = DEPLOYMENTS["trimtab-worker"]["spec"]["replicas"]
    assert int(config_map()["TRIMTAB_DEFAULT_PARALLELISM"]) >= children * workers


# ------------------------------------------------------------------------------------------------ the pods


def test_every_process_but_the_sandbox_has_its_deployment_with_the_command_of_the_procfile() -> None:
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())

    assert {name.removeprefix("trimtab-"): pod["containers"][0]["command"] for name, pod in PODS.items()} == {
        name: command.split() for name, command in procfile.items() if name != "sandbox"
    }


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} == container["resources"]["requests"].keys()
    assert {"memory"} == container["resources"]["limits"].keys()


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_gets_only_settings_that_exist_and_none_by_accident(name: str) -> None:
    """Links to services would set TRIMTAB_API_PORT and others: a process that knows no such setting does not start."""
    pod = PODS[name]
    given = {each["name"] for each in pod["containers"][0].get("env", ())} | config_map().keys()
    names = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    from_files = {f"{PREFIX}{field.upper()}{FILE_SUFFIX}" for field in FROM_FILES}

    assert pod["enableServiceLinks"] is False
    assert given <= names | from_files


@pytest.mark.parametrize("name", sorted(PODS))
def test_what_holds_passwords_reaches_a_pod_as_files_of_the_secret_that_the_pattern_shows(name: str) -> None:
    pod = PODS[name]
    secrets = {each["metadata"]["name"]: each["stringData"] for each in of_kind("Secret")}
    volumes = {each["name"]: each["secret"] for each in pod["volumes"] if "secret" in each}
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    there = {
        f"{mounts[volume]}/{key}"
        for volume, secret in volumes.items()
        for key in secrets[secret["secretName"]]
    }
    files = [value for key, value in config_map().items() if key.endswith(FILE_SUFFIX)]

    assert files
    assert set(files) <= there
    assert {secret["defaultMode"] for secret in volumes.values()} == {0o440}
    assert not any(
        key.removeprefix(PREFIX).lower() in FROM_FILES and "@" in value for key, value in config_map().items()
    )


def test_a_pod_can_be_told_to_end_at_any_moment() -> None:
    """The first process of a container ignores a SIGTERM that comes before its handlers."""
    assert {pod["shareProcessNamespace"] for pod in PODS.values()} == {True}
    assert {service["init"] for service in ours().values()} == {True}


def test_what_must_go_on_while_a_node_is_drained_has_a_budget_that_lets_pods_go() -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind("PodDisruptionBudget")}

    assert budgets.keys() >= {"trimtab-api", "trimtab-steward", "trimtab-worker"}
    for name, budget in budgets.items():
        assert budget["selector"] == DEPLOYMENTS[name]["spec"]["selector"]
        assert DEPLOYMENTS[name]["spec"]["replicas"] > budget.get("minAvailable", 0)


def test_the_network_lets_only_callers_of_the_api_and_prometheus_in() -> None:
    policies = list(of_kind("NetworkPolicy"))
    to_all = [each for each in policies if "matchLabels" in each["spec"]["podSelector"]]

    assert {"part-of" in str(each["spec"]["podSelector"]) for each in to_all} == {True, False}
    everything = next(each for each in policies if "part-of" in str(each["spec"]["podSelector"]))
    assert everything["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything["spec"]
    assert [each["metadata"]["name"] for each in policies if each["spec"].get("ingress")] == [
        "trimtab-api",
        "trimtab-metrics",
    ]


def test_workers_are_scaled_by_the_age_of_the_queue() -> None:
    (scaled,) = of_kind("ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]

    assert scaled["spec"]["scaleTargetRef"]["name"] in DEPLOYMENTS
    query = trigger["metadata"]["query"]
    asked = dict(re.findall(r'(trimtab_\w+)\{state="(\w+)"\}', query))
    assert asked
    for metric, state in asked.items():
        (label,) = METRICS[metric].labels
        assert "steward" in METRICS[metric].of
        assert state in (label.values or ())


def test_prometheus_finds_the_metrics_of_every_process_that_has_a_port_for_them() -> None:
    annotated = {
        name for name, each in DEPLOYMENTS.items() if "annotations" in each["spec"]["template"]["metadata"]
    }

    assert annotated == {"trimtab-worker", "trimtab-steward", "trimtab-requests", "trimtab-beat"}
    for name in annotated:
        notes = DEPLOYMENTS[name]["spec"]["template"]["metadata"]["annotations"]
        (container,) = PODS[name]["containers"]
        env = {each["name"]: each["value"] for each in container["env"]}
        (port,) = container["ports"]
        assert str(port["containerPort"]) == env["TRIMTAB_METRICS_PORT"] == notes["prometheus.io/port"]


# ------------------------------------------------------------------------------------------------ image, compose


def test_the_image_is_pinned_runs_as_nobody_in_particular_and_says_which_release_it_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^ARG BASE=python:\d+\.\d+\.\d+-slim-\w+$", dockerfile, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == [f"{USER}:{USER}"]
    assert f"ARG VERSION={__version__}\n" in dockerfile
    assert {pod["containers"][0]["image"] for pod in PODS.values()} == {f"trimtab:{__version__}"}
    (images,) = documents(KUBERNETES / "kustomization.yaml")[0]["images"]
    assert images["newTag"] == __version__


def test_compose_publishes_on_loopback_only_and_looks_at_the_health_of_every_server() -> None:
    services = compose()["services"]

    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    looked_at = {name for name, service in services.items() if "healthcheck" in service}
    assert {"broker", "store", "api", "flower"} <= looked_at
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()  # the others


def test_containers_of_ours_have_nothing_they_need_not() -> None:
    for service in ours().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
