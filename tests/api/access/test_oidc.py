"""JWTs of an OpenID provider: only what its keys signed for this service is accepted."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from service.api.access.identity import Identity, LoginFailedError, Role
from service.api.access.oidc import MAX_STALE_SECONDS, REFETCH_SECONDS, OidcVerifier
from service.errors import NotReady
from service.settings import AdminSettings
from service.settings.access import OidcSettings
from tests.support.fakes import FakeClock

ISSUER = "https://login.example.org/realms/ops"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key, kid, **more):
    algorithm = jwt.algorithms.RSAAlgorithm if key is not CURVE else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


class Provider:
    """A provider whose document and availability tests change."""

    def __init__(self, **settings):
        self.keys = [jwk(KEY, "one", alg="RS256"), jwk(CURVE, "curve")]
        self.fetched = 0
        self.error = None
        self.clock = FakeClock()
        self.verifier = OidcVerifier(
            OidcSettings.model_validate(
                {
                    "issuer": ISSUER,
                    "audience": "nextvec",
                    "jwks_url": "https://user:s3cret@login.example.org/certs?x=s3cret",
                    **settings,
                }
            ),
            self.clock,
            reserved={"approver", "ci"},
            fetch=self.fetch,
        )

    async def fetch(self):
        self.fetched += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return json.dumps({"keys": self.keys}).encode()

    async def identify(self, key=KEY, kid="one", algorithm="RS256", header=None, **claims):
        return await self.verifier.identify(token(key, kid, algorithm, header, **claims))


def token(key=KEY, kid="one", algorithm="RS256", header=None, **claims):
    now = int(time.time())
    content = {
        "iss": ISSUER,
        "aud": "nextvec",
        "sub": "1234",
        "exp": now + 60,
        "iat": now,
        "email": "alice@example.org",
        "nextvec_role": "approver",
        **claims,
    }
    content = {name: value for name, value in content.items() if value is not None}
    headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(content, key, algorithm, headers=headers)


@pytest.fixture
def provider():
    return Provider()


async def test_a_token_names_a_person_and_a_role(provider):
    assert Identity("alice@example.org", Role.APPROVER) == await provider.identify()
    assert Identity("1234", Role.VIEWER) == await provider.identify(
        email=None, nextvec_role=["viewer", "else"]
    )
    assert Identity("alice@example.org", Role.OPERATOR) == await provider.identify(
        CURVE, "curve", "ES256", aud=["other", "nextvec"], nextvec_role=["viewer", "operator"]
    )
    assert provider.fetched == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "invalid"),
        ({"nbf": int(time.time()) + 3600}, "invalid"),
        ({"iss": "https://evil.example"}, "invalid"),
        ({"iss": None}, "invalid"),
        ({"aud": "other"}, "invalid"),
        ({"aud": None}, "invalid"),
        ({"sub": None}, "invalid"),
        ({"exp": 1e400}, "invalid"),
        ({"nextvec_role": None}, "no_role"),
        ({"nextvec_role": "admin"}, "no_role"),
        ({"nextvec_role": {"approver": 1}}, "no_role"),
        ({"nextvec_role": ["APPROVER", 3, None]}, "no_role"),
        ({"key": OTHER}, "invalid"),
        ({"kid": "unknown"}, "invalid"),
        ({"kid": None}, "invalid"),
        ({"kid": "curve"}, "invalid"),
        ({"algorithm": "RS512"}, "invalid"),
        ({"algorithm": "PS256"}, "invalid"),
    ],
)
async def test_a_token_that_is_not_for_this_service_is_refused(provider, claims, reason):
    with pytest.raises(LoginFailedError) as caught:
        await provider.identify(**claims)
    assert reason == caught.value.reason


async def test_a_token_without_a_signature_or_signed_with_the_public_key_is_refused(provider):
    """The two classic forgeries: `none`, and HMAC with the public key as the secret."""
    body = token().split(".")[1]
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').decode().rstrip("=")
    shared = jwt.encode({"sub": "x"}, "a" * 64, "HS256", headers={"kid": "one"})
    for forged in (f"{none}.{body}.", shared, f"{token()}x", token()[:-4], "a.b.c", "." * 20_000):
        with pytest.raises(LoginFailedError):
            await provider.verifier.identify(forged)


async def test_a_new_key_is_fetched_once_it_is_needed(provider):
    await provider.identify()
    provider.keys = [jwk(OTHER, "two")]
    provider.clock.advance(REFETCH_SECONDS)
    results = await asyncio.gather(*[provider.identify(OTHER, "two") for _ in range(5)])
    assert len(results) == 5
    assert provider.fetched == 2
    with pytest.raises(LoginFailedError):
        await provider.identify()


async def test_unknown_keys_cannot_make_the_service_fetch_in_a_loop(provider):
    for i in range(50):
        with pytest.raises(LoginFailedError):
            await provider.identify(kid=f"k{i}")
    assert provider.fetched == 1


async def test_old_keys_are_fetched_again_in_the_background(provider):
    await provider.identify()
    provider.clock.advance(601)
    waiting = asyncio.Event()
    fetch = provider.verifier._fetch

    async def hang():
        await waiting.wait()
        return await fetch()

    provider.verifier._fetch = hang
    await asyncio.wait_for(provider.identify(), 1)
    waiting.set()
    await provider.verifier._refreshing
    assert provider.fetched == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("http://user:s3cret@x"), ValueError("s3cret"), TimeoutError()]
)
async def test_the_last_keys_serve_for_a_day_while_the_provider_is_down(provider, error, caplog):
    await provider.identify()
    provider.error = error
    provider.clock.advance(MAX_STALE_SECONDS - 1)
    await provider.identify()
    await provider.verifier._refreshing
    provider.clock.advance(2)
    with pytest.raises(NotReady, match="identity provider"):
        await provider.identify()
    assert "s3cret" not in caplog.text
    assert "https://login.example.org/certs" in caplog.text


async def test_a_provider_that_never_answered_is_not_a_wrong_token(provider):
    provider.error = httpx.ConnectError("refused")
    with pytest.raises(NotReady):
        await provider.identify()


async def test_unusable_keys_of_the_document_are_skipped(provider):
    provider.keys = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken"},
        "no key",
        jwk(OTHER, "for-encryption") | {"use": "enc"},
        *provider.keys,
    ]
    assert await provider.identify()
    assert {"one", "curve"} == set(provider.verifier._keys)


async def test_a_claim_leads_into_objects_and_roles_have_names_of_their_own():
    provider = Provider(
        role_claim="realm_access.roles",
        roles={"ml-leads": "approver", "ml": "operator"},
        name_claim="preferred_username",
    )
    person = {"preferred_username": "bob", "nextvec_role": "viewer"}
    assert Identity("bob", Role.APPROVER) == await provider.identify(
        realm_access={"roles": ["x", "ml", "ml-leads"]}, **person
    )
    with pytest.raises(LoginFailedError):
        await provider.identify(realm_access={"roles": ["approver"]}, **person)
    url = Provider(role_claim="https://nextvec.example/role")
    assert await url.identify(**{"https://nextvec.example/role": "viewer"})


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("approver", "oidc:approver"),
        ("ci", "oidc:ci"),
        ("a\x1b[31m\nb", "a?[31m?b"),
        ("x" * 5000, "x" * 128),
        ("  ", "1234"),
        (["list"], "1234"),
    ],
)
async def test_a_name_cannot_pass_for_another_or_break_a_log(provider, name, recorded):
    assert recorded == (await provider.identify(email=name)).name


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ISSUER},
        {"issuer": ISSUER, "audience": "x"},
        {"audience": "x", "jwks_url": "https://a.example"},
        {"issuer": ISSUER, "audience": "", "jwks_url": "https://a.example"},
        {"issuer": "login", "audience": "x", "jwks_url": "https://a.example"},
        {"issuer": ISSUER, "audience": "x", "jwks_url": "file:///etc/passwd"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"roles": {"x": "admin"}},
    ],
)
def test_incomplete_settings_and_shared_secrets_are_refused(wrong):
    with pytest.raises(ValidationError):
        AdminSettings.model_validate({"oidc": wrong})
