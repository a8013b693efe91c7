"""Documents as they are found in the world, without a secret, by kind: their shapes, with nothing copied.

They are full of names of credentials, of hashes and of texts that look random. All of it must stay.
"""

from __future__ import annotations

import json
from typing import Any

SRI = "sha512-eZ8q1yD2V7Zk3cX4mB5nW6pQ7rT8sU9vA0bC1dE2fG3hI4jK5lM6nO7pQ8rS9tU0vW1xY2zA3bC4dE5fG6hI7g=="
SHA_256 = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

HARMLESS: dict[str, list[Any]] = {
    "connectors, as they should be": [
        {
            "oauth2": {
                "clientId": "{{client_id}}",
                "clientSecret": "{{client_secret}}",
                "tokenJsonPath": "$.access_token",
            }
        },
        {
            "headers": [
                {"name": "Authorization", "value": "Bearer {{oauth2.token}}"},
                {"name": "X-Key", "value": "{{key}}"},
            ]
        },
        {
            "headers": [
                "Accept: */*",
                "Authorization: Basic {{user}}:{{password}}",
                "Cookie:",
                "X-Api-Key: sec_a23f23d26",
            ]
        },
        {"headers": "Authorization:\nAccept: application/json\nX-Auth-Token: ${TOKEN}\r\n"},
        {"url": "https://{{user}}:{{password}}@api.example.com/?token={{token}}&key={{key}}&page_token=4f"},
        {"body": '{"password": "{{password}}", "limit": {{limit}}, "token": "{{ token }}", "user": "reports"}'},
        {"body": "<s:Login><s:Password>{{password}}</s:Password><s:Token/><s:Cookie> </s:Cookie></s:Login>"},
        {"body": "user={{user}}&password={{password}}&grant_type=password&response_type=token"},
        {"query": 'mutation { login(user: "{{user}}", password: "{{password}}") { token, cookie } }'},
        {"path": "$.items[?(@.token=='abc' && @.password != 'x')].value", "token": "$.data[0]['access_token']"},
        {"userInputs": [{"id": "api_key", "label": "API key", "type": "password", "placeholder": "Your API key"}]},
        {
            "token": {"source": "jsonPath", "value": "access"},
            "secrets": [{"name": "api_key", "value": "sec_a23f23d26"}],
        },
        {
            "pagination": {
                "type": "token",
                "token": "next_page_token",
                "next_page_token": "$.next",
                "pageToken": "after",
            }
        },
        {
            "input_token": "NextToken",
            "output_token": "List.NextMarker",
            "nextForwardToken": "f/3",
            "token": "nextToken",
        },
        {"template": '{{#if token}}token="{{token}}"{{/if}}', "script": "{{ oauth.get(token='access') }}"},
        {"secrets": {"items": [{"id": "api_key", "source": "encrypted", "value": "b64=="}]}},
    ],
    "OpenAPI": [
        {
            "openapi": "3.0.3",
            "components": {
                "securitySchemes": {
                    "api_key": {"type": "apiKey", "name": "X-API-Key", "in": "header", "description": "Your API key."},
                    "cookieAuth": {"type": "apiKey", "in": "cookie", "name": "JSESSIONID"},
                    "oauth": {"flows": {"password": {"tokenUrl": "/oauth/token", "scopes": {"read": "Read."}}}},
                },
                "schemas": {
                    "Login": {
                        "type": "object",
                        "required": ["user", "password"],
                        "properties": {
                            "password": {"type": "string", "format": "password", "title": "Password", "minLength": 8},
                            "token": {"$ref": "#/components/schemas/Token"},
                            "secret": {"type": "string", "description": "Shown once, when the token is made."},
                        },
                    },
                },
            },
            "security": [{"api_key": []}, {"cookieAuth": []}],
        },
        {
            "swagger": "2.0",
            "paths": {"/login": {"post": {"parameters": [{"name": "token", "in": "header", "type": "string"}]}}},
            "definitions": {"token": "#/definitions/Token", "credentials": "#/definitions/Credentials"},
            "x-endpoints": {"token": "/oauth/token", "authorization": "/oauth/authorize", "jwt": "./schemas.json#/Jwt"},
        },
        {"parameters": [{"name": "session_id", "in": "path", "schema": {"type": "string"}, "key": "session_id"}]},
        {"paths": {"/tokens/{token}": {"get": {"operationId": "getToken", "token": "{token}", "tags": ["tokens"]}}}},
        {"properties": {"apiKey": {"type": "string", "default": "", "x-go-name": "APIKey", "text": ""}}},
    ],
    "Postman": [
        {"auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]}},
        {
            "auth": {
                "type": "apikey",
                "apikey": [
                    {"key": "value", "value": "{{key}}", "type": "string"},
                    {"key": "key", "value": "X-API-Key", "type": "string"},
                    {"key": "in", "value": "header", "type": "string"},
                ],
            }
        },
        {"auth": {"jwt": [{"key": "algorithm", "value": "HS256"}, {"key": "secret", "value": "{{jwt_secret}}"}]}},
        {
            "request": {
                "url": {
                    "raw": "{{base}}/me?access_token={{token}}",
                    "query": [{"key": "access_token", "value": "{{t}}"}],
                }
            }
        },
        {
            "event": [
                {
                    "script": {
                        "exec": ["pm.environment.set('token', pm.response.json().token);"],
                        "type": "text/javascript",
                    }
                }
            ]
        },
        {
            "variable": [
                {"key": "token", "value": "", "type": "string"},
                {"key": "password", "value": "<your password>"},
            ]
        },
        {
            "_postman_id": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
            "cookie": [],
            "response": [{"header": [], "code": 200}],
        },
    ],
    "npm and pip lock files": [
        {
            "lockfileVersion": 3,
            "packages": {
                "": {"dependencies": {"cookie": "^0.6.0", "js-tokens": "^3.0.0 || ^4.0.0", "jsonwebtoken": "9.x"}},
                "node_modules/cookie": {
                    "version": "0.6.0",
                    "resolved": "https://r.example/cookie-0.6.0.tgz",
                    "integrity": SRI,
                },
                "node_modules/express": {
                    "version": "4.19.2",
                    "dependencies": {"cookie": "0.6.0", "set-cookie": "~1.2"},
                },
                "node_modules/csrf": {"dependencies": {"rndm": "1.2.0", "tsscmp": "1.0.6", "uid-safe": "2.1.5"}},
            },
        },
        {"dependencies": {"cookie": {"version": "0.6.0", "integrity": SRI, "requires": {"token": ">=1.0.0 <2.0.0"}}}},
        {
            "dependencies": {
                "secret": "latest",
                "passwd": "*",
                "cookies": "npm:cookies@0.9.1",
                "credentials": "workspace:*",
            }
        },
        {
            "devDependencies": {
                "@types/cookie": "0.6.0-beta.1",
                "universal-cookie": "v7.1.0",
                "my-token": "git+ssh://git@h/t.git",
            }
        },
        {
            "default": {
                "secrets": {"hashes": [SHA_256], "index": "pypi", "version": "==1.0.2"},
                "jwt": {"version": "==1.3.1"},
            }
        },
        {"_meta": {"hash": {"sha256": SHA_256[7:]}}, "default": {"python-jose": {"hashes": [SHA_256, SHA_256]}}},
        {"lock": 'name = "secrets"\nversion = "1.0"\n[package.dependencies]\ncookie = "^1.2.3"\npasswd = ">=2"\n'},
        {"lock": f"js-tokens@^4.0.0:\n  version: 4.0.0\n  resolution: 'js-tokens@npm:4.0.0'\n  checksum: {SHA_256}\n"},
        {"dependencies": {"tokens": "1.0.0-rc.1+build.5", "secret": "github:shop/secret#v1", "creds": "~2"}},
        {"requirements": f"jwt==1.3.1 --hash={SHA_256}\nsecrets>=1.0\n"},
    ],
    "manifests": [
        {
            "manifest_version": 3,
            "permissions": ["cookies", "storage"],
            "key": "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1x9",
        },
        {
            "kind": "Deployment",
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
            "annotations": {"checksum/secret": SHA_256[7:]},
        },
        {"compose": "services:\n  web:\n    environment:\n      PASSWORD: ${PASSWORD}\n    secrets:\n      - db\n"},
        {"env": {"TOKEN": "${{ secrets.TOKEN }}", "API_KEY": "$API_KEY", "PASSWORD": "%PASSWORD%"}},
        {
            "terraform": "password = var.password\n",
            "private_key": "/etc/ssl/private/shop.key",
            "credentials": "credentials.json",
        },
        {
            "secret": "arn:aws:secretsmanager:eu-north-1:1:secret:db",
            "token": "op://vault/shop/token",
            "password": "********",
        },
        {
            "public_key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7",
            "signing_key": "-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----",
        },
        {
            "commit": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
            "etag": 'W/"5d8c72a5edda8d6a"',
            "id": "550e8400e29b41d4a716446655440000",
        },
        {"repository": "https://shop@git.example.com/shop/reports.git", "ssh": "ssh://git@git.example.com:22/a.git"},
        {
            "cors": {
                "allowedHeaders": ["Content-Type", "Authorization", "X-Api-Key", "X-Token"],
                "credentials": "include",
            }
        },
        {"icon": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg=="},
    ],
    "labels and translations": [
        {"en": {"password": "Password", "token": "Access token", "forgot_password": "Forgot your password?"}},
        {"de": {"login": {"password": "Kennwort", "new_password": "Neues Passwort", "cookies": "Wir nutzen Cookies."}}},
        {"translations": {"password": "Mot de passe", "secret": "Clé secrète", "token": "Jeton d'accès"}},
        {"labels": {"api_key": "API key", "client_secret": "Client secret"}, "errors": {"password": ["is too short"]}},
        {"login": {"password": "Password", "confirm_password": "Please repeat your password", "apiKey": "Api Key"}},
        {"messages": {"token": {"text": "Your token has expired"}, "session_id": "Session ID"}},
        {
            "placeholders": {"password": "Kennwort eingeben …"},
            "zh-CN": {"password": "密码"},
            "ja": {"token": "トークン"},
        },
    ],
    "texts about credentials": [
        {"description": "Ask for a token: it is shown once. Password and API key go into the form."},
        {"description": "Token: see your account page.\nThen choose Basic authentication or Bearer tokens."},
        {"help": "Set the header `Authorization: Bearer <token>` or add ?api_key=YOUR_KEY to the address."},
        {"help": "The password (optional) and the token, which expires, are e-mailed to you@example.com: please wait."},
        {"readme": "# Cookies\n\nCookie policy: we set none.\n\n- token: string\n- password: required\n"},
        {"sql": "select token from logins where token = :token and password = ? and key = '2025-01'"},
        {"schema": "input Login { user: String!, password: String!, token: AccessToken! }\ntype S { token: String }"},
        {"code": "if (token == null || password === '') { return request.headers['x-api-key']; }"},
        {"code": "const cookie = request.headers['cookie'];\nconst secret = alice.computeSecret(bob);\n"},
        {"fragment": '  "forward": {\n    "cookies": false,\n    "session_id": null,\n    "tokens": true\n  },'},
        {
            "usage": "login [--session_id=[session]] --token=<token> [-p PASSWORD]",
            "pattern": "^https://[-a-z0-9()@:%]+$",
        },
        {"html": "<p>An ID, such as <code>JID123e4567-e89b-12d3-a456-426655440000</code>, and <key>orders</key>.</p>"},
        {
            "call": 'login({"password": "", "user": "reports", "token": \'\', "cookie": "{{a}}"})',
            "set": "password = your own",
        },
        {
            "contact": "mailto:reports@example.com",
            "at": "https://example.com/@reports/posts?page=2",
            "time": "at 12:30:45",
        },
    ],
    "fields and settings": [
        {
            "fields": [
                {"id": "token", "name": "Token", "type": "dimension", "path": "$.token"},
                {"id": "cookie", "value": "metric"},
            ]
        },
        {"max_tokens": 4096, "token_count": "12", "has_password": True, "password": None, "tokens": []},
        {"color": {"token": {"value": "#ff8800"}, "primary_token": {"value": "{color.token}"}}},
        {
            "key": "campaign_id",
            "primary_key": "campaign_id_2024_report_v12",
            "auth": "oauth2",
            "code": "EUR",
            "sig": "none",
        },
        {"hooks": {"url": "https://api.example.com/webhooks/orders/created", "path": "/hooks/v1/orders2024/items"}},
        {
            "body": json.dumps(
                {"filter": {"key": "status", "value": "paid"}, "cookie": {"version": "1.2.3"}, "tokens": 12}
            )
        },
    ],
}
