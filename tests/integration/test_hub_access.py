"""Tokens and private repositories, and hubs that are down, in trouble or none."""

from __future__ import annotations

import socket
from collections.abc import Callable

import huggingface_hub
import pytest

from maeum.errors import ModelInvalid, ModelMissing
from maeum.models import fetch
from maeum.settings import Settings
from tests.hub_server import Fault, HubServer
from tests.integration.conftest import TOKEN, VOICE_REPO, refusal

pytestmark = pytest.mark.usefixtures("no_waiting")


class TestAccess:
    def test_token_goes_to_the_hub_only(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, token=TOKEN)
        fetch(make_settings(hf_token=TOKEN), ["voice"])
        sent = {(one.server, one.headers.get("authorization")) for one in hub.requests}
        assert sent == {("hub", f"Bearer {TOKEN}"), ("storage", None)}

    def test_token_is_sent_only_when_it_is_set(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        voice_files: dict[str, bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.publish(VOICE_REPO, voice_files)
        fetch(make_settings(), ["voice"])
        assert {one.headers.get("authorization") for one in hub.requests} == {None}

    @pytest.mark.parametrize("token", [None, TOKEN])
    def test_private_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes], token: str | None
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, token="hf_another")
        settings = make_settings(hf_token=token)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "HF_TOKEN" in error.message

    @pytest.mark.parametrize("token", [None, TOKEN])
    def test_no_such_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], token: str | None
    ) -> None:
        settings = make_settings(voice_model="hub:nobody/nothing", hf_token=token)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "no model repository nobody/nothing" in error.message

    def test_gated_repository(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files, gated=True)
        settings = make_settings()
        assert "accept its conditions" in refusal(lambda: fetch(settings, ["voice"])).message

    def test_server_that_is_down(self, make_settings: Callable[..., Settings]) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            settings = make_settings(hf_endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}", hf_token=TOKEN)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert "check the network" in error.message

    def test_password_in_the_endpoint_is_not_shown(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        settings = make_settings(hf_endpoint=hub.endpoint.replace("//", f"//me:{TOKEN}@"))
        assert isinstance(refusal(lambda: fetch(settings, ["voice"])), ModelMissing)

    def test_trouble_that_passes(
        self, hub: HubServer, make_settings: Callable[..., Settings], voice_files: dict[str, bytes]
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.faults["pytorch_model.pth"] = Fault("status", 503, times=2)
        hub.faults["labels.json"] = Fault("status", 429, times=1)
        fetch(make_settings(), ["voice"])

    @pytest.mark.parametrize(("status", "advice"), [(500, "try again later"), (403, "HF_TOKEN"), (404, "is not on")])
    def test_trouble_that_stays(
        self,
        hub: HubServer,
        make_settings: Callable[..., Settings],
        voice_files: dict[str, bytes],
        status: int,
        advice: str,
    ) -> None:
        hub.publish(VOICE_REPO, voice_files)
        hub.faults["labels.json"] = Fault("status", status)
        settings = make_settings(hf_token=TOKEN)
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelMissing)
        assert f"{VOICE_REPO}/labels.json" in error.message
        assert advice in error.message

    @pytest.mark.parametrize("answer", ["<html>hotel login</html>", "[]", "{}", "null", '{"id": "a/b", "sha": "../x"}'])
    def test_something_that_is_no_hub(
        self, hub: HubServer, make_settings: Callable[..., Settings], answer: str
    ) -> None:
        hub.garbage = answer
        settings = make_settings()
        error = refusal(lambda: fetch(settings, ["voice"]))
        assert isinstance(error, ModelInvalid)
        assert "check HF_ENDPOINT" in error.message

    def test_offline_mode(self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        settings = make_settings()
        assert "HF_HUB_OFFLINE" in refusal(lambda: fetch(settings, ["voice"])).message
