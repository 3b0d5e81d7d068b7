"""Who calls: roles for the admin routes, API keys for the prediction routes.

| module | has |
|---|---|
| `identity` | the roles, and who a caller of the admin routes is |
| `admin_tokens` | static bearer tokens |
| `oidc` | tokens of an OpenID Connect provider |
| `failed_logins` | what happens after a wrong token: a log line, a count, a delay |
| `api_keys` | callers of the prediction routes and their limits |
"""
