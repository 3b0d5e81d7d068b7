"""A client of nextvec, the service for next-vector models with canary rollouts.

from nextvec import Client

with Client("http://127.0.0.1:8080") as client:
    session = client.session()
    prediction = session.append(vector)  # a NumPy array or a PyTorch tensor
"""

from __future__ import annotations

from nextvec.async_client import AsyncClient, AsyncClientSession
from nextvec.async_rollout_calls import AsyncRolloutCalls
from nextvec.client import Client, ClientSession
from nextvec.errors import (
    AuthenticationError,
    CallerLimitError,
    ConflictError,
    Error,
    GateRefusalError,
    GoneError,
    IllegalVerbError,
    InvalidRequestError,
    MalformedRequestError,
    NotFoundError,
    OverloadError,
    PermissionDeniedError,
    PositionConflictError,
    RequestTimeoutError,
    RequestTooLargeError,
    ResponseError,
    ServiceDeadlineError,
    ServiceError,
    StaleGenerationError,
    StatusError,
    TransportError,
    UnavailableError,
    WaitTimeoutError,
)
from nextvec.results import PredictedVector, ServerTiming, SessionInfo, StepResult
from nextvec.rollout_calls import RolloutCalls
from nextvec.rollout_status import (
    AuditEntry,
    EvidenceInterval,
    GuardrailStatus,
    NextRolloutAction,
    RollbackRisk,
    RolloutCondition,
    RolloutStatus,
)
from nextvec.version import __version__

__all__ = [
    "AsyncClient",
    "AsyncClientSession",
    "AsyncRolloutCalls",
    "AuditEntry",
    "AuthenticationError",
    "CallerLimitError",
    "Client",
    "ClientSession",
    "ConflictError",
    "Error",
    "EvidenceInterval",
    "GateRefusalError",
    "GoneError",
    "GuardrailStatus",
    "IllegalVerbError",
    "InvalidRequestError",
    "MalformedRequestError",
    "NextRolloutAction",
    "NotFoundError",
    "OverloadError",
    "PermissionDeniedError",
    "PositionConflictError",
    "PredictedVector",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ResponseError",
    "RollbackRisk",
    "RolloutCalls",
    "RolloutCondition",
    "RolloutStatus",
    "ServerTiming",
    "ServiceDeadlineError",
    "ServiceError",
    "SessionInfo",
    "StaleGenerationError",
    "StatusError",
    "StepResult",
    "TransportError",
    "UnavailableError",
    "WaitTimeoutError",
    "__version__",
]
