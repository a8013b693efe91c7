"""Configurations in which somebody typed secrets, by kind. What stands between « and » is one; the rest must stay.

All are made up: issuers' prefixes are real, what follows them is not.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

PEM = (
    "-----BEGIN {0}PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nq7Rk0n2Vt5xJ8wLm3\n-----END {0}PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyZXBvcnRzIiwiaWF0IjoxfQ.Q2hlY2sgdGhlIHNpZ25hdHVyZQ"
PART = "--b7Xk\r\nContent-Disposition: form-data; name="


def text(document: Any, indent: int | None = None) -> str:
    """The document as JSON."""
    return json.dumps(document, ensure_ascii=False, indent=indent)


PLANTED: dict[str, list[Any]] = {
    "OAuth 2": [
        {
            "oauth2": {
                "clientId": "my-application",
                "clientSecret": "«hunter2-Xy77Zz»",
                "tokenJsonPath": "$.access_token",
            }
        },
        {
            "grant": {
                "type": "client_credentials",
                "client_id": "app",
                "client_secret": "«correct horse battery staple»",
            }
        },
        {
            "tokens": {
                "access_token": "«a1B2c3D4»",
                "refresh_token": "«r-99-zz»",
                "token_type": "bearer",
                "expires_in": 3600,
            }
        },
        {
            "request": {
                "body": "grant_type=refresh_token&refresh_token=«1a2b3c4d»&client_id=app&client_secret=«s3cr3t/+»"
            }
        },
        {"oauth1": {"consumerKey": "«ck-7781»", "consumerSecret": "«cs-1177»", "tokenSecret": "«ts-4242»"}},
        {
            "oauth": [
                {"key": "accessToken", "value": "«ya-4711-t»", "type": "string"},
                {"key": "tokenType", "value": "Bearer"},
            ]
        },
        {"developerToken": "«dT0k3n-xyz»", "loginCustomerId": "1234567890", "developer_token_field": "developer-token"},
    ],
    "API key in a header": [
        {"headers": [{"name": "X-Api-Key", "value": "«hunter2-Xy77Zz»"}, {"name": "Accept", "value": "*/*"}]},
        {"headers": {"Ocp-Apim-Subscription-Key": "«0f1e2d3c»", "Content-Type": "application/json"}},
        {"headers": [["X-Auth-Token", "«tok-1-2-3»"], ["Accept", "*/*"]]},
        {"authentication": {"type": "api_key", "placement": "header", "name": "X-Key", "value": "«k3y-in-here»"}},
        {"api key": "«hunter2-Xy77Zz»", "API Key ": "«hunter3-Xy77Zz»", "x-api-key:": "«hunter4-Xy77Zz»"},
        {"inputs": [{"id": "apiKey", "label": "API key", "defaultValue": "«k3y-in-here»", "type": "password"}]},
        {"header": {"name": "X-Shop-Access-Token", "example": "see the manual", "value": "«shop-77-tok»"}},
    ],
    "API key in a URL": [
        {"url": "https://api.example.com/v1?from={{start}}&api_key=«hunter2-Xy77Zz»&to=2025-01-31#top"},
        {"url": "https://api.example.com/v1?key=«AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe»&q=a"},
        {"parameters": [{"name": "access_token", "value": "«t-0-k-3-n»"}, {"name": "page", "value": "1"}]},
        {
            "url": "https://blob.example.net/c/f.csv?sv=2022-11-02&sr=b&sig=«Zm9vYmFyMTIzNDU2Nzg5MEFCQ0RFRkc%3D»&se=2030-01-01"
        },
        {"url": "https://fn.example.net/api/run?code=«Xa81bC99dE23fG45hI67jK89»&clientId=default"},
        {"query": "per_page=100&private_token=«pt-4711»&order=asc", "next": "?token=«n3xt»"},
    ],
    "basic and digest": [
        {"basic": {"username": "reports", "password": "«hunter2-Xy77Zz»"}},
        {"headers": {"Authorization": "«Basic cmVwb3J0czpodW50ZXIy»", "X-Tenant": "nordic"}},
        {"http": {"user": "reports", "pwd": "«p-w-d-1»", "realm": "reports"}},
        {"digest": {"username": "reports", "passphrase": "«pass-phrase 7»", "algorithm": "MD5", "qop": "auth"}},
        {"headers": ["Accept: */*", 'Authorization: «Digest username="u", realm="r", response="6629fae4"»']},
        {"h": "Authorization", "v": "Basic «cmVwb3J0czpodW50ZXIy»"},
        {"h": "X-Proxy", "v": "basic «cmVwb3J0czpodW50ZXIz»"},
        {"check": "curl -u reports:«hunter2-Xy» https://api.example.com/v1/me"},
    ],
    "AWS signing": [
        {
            "s3": {
                "region": "eu-north-1",
                "accessKeyId": "«AKIAQ3EGRIGTESTKEY77»",
                "secretAccessKey": "«wJalr/XUtn+FEMI»",
            }
        },
        {"aws": {"session_token": "«FwoGZXIvYXdzEBYaD»", "service": "execute-api", "signatureVersion": "4"}},
        {
            "url": "https://b.s3.amazonaws.com/f?X-Amz-Date=20250101T000000Z&X-Amz-Security-Token=«FwoGZXIvYXdzEBYaD»&a=b"
        },
        {
            "headers": {
                "Authorization": "«AWS4-HMAC-SHA256 Credential=AKIAQ3EGRIGTESTKEY77/20250101, Signature=fe5f80f7»"
            }
        },
        {"env": "AWS_DEFAULT_REGION=eu-west-1\nAWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG»\nAWS_PROFILE=reports"},
    ],
    "private keys and JSON Web Tokens": [
        {"jwt": {"algorithm": "RS256", "privateKey": f"«{PEM.format('')}»", "issuer": "reports"}},
        {"note": f"Signed with «{PEM.format('RSA ')}» since May."},
        {
            "account": {
                "type": "service_account",
                "private_key_id": "a1",
                "private_key": f"«{PEM.format('')}»",
                "client_id": "1",
            }
        },
        {"body": text({"assertion": f"«{JWT}»", "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"})},
        {"comment": f"Works with «{JWT}», says the support."},
        {"headers": {"Authorization": f"«Bearer {JWT}»"}, "x": {"name": "X-Jwt", "value": f"«{JWT}»"}},
        {"ssh": {"host": "sftp.example.com", "identity": f"«{PEM.format('OPENSSH ')}»"}},
    ],
    "cookies and sessions": [
        {"headers": {"Cookie": "«session=9f8e7d; lang=en»"}},
        {"login": {"cookies": [{"name": "JSESSIONID", "value": "«B2F4C0FFEE»", "path": "/"}]}},
        {"session_id": "«9f8e7d6c»", "sessionId": "«0a1b2c»", "session_timeout": 30},
        {"headers": [{"header": "Set-Cookie", "value": "«sid=31d4d96e407aad42; Path=/»"}]},
        {"raw": "GET /v1 HTTP/1.1\r\nHost: api.example.com\r\nCookie: «a=9f8e7d; b=2»\r\nAccept: */*\r\n\r\n"},
    ],
    "headers as lines": [
        {"headers": ["Accept:\nAuthorization: «Basic cmVwb3J0czpodW50ZXIy»"]},
        {"headers": "X-Empty:\r\nX-Api-Key: «hunter2-Xy77Zz»\r\nAccept: */*"},
        {"headers": "Authorization:\nAccept: application/json\nCookie: «a=1»"},
        {"requestHeaders": "Host: a.b\nx-auth-token:«t0k3n»\nUser-Agent: reports/1.0"},
        {"request": {"headers": ["Accept: ", "Proxy-Authorization: «Bearer abcdefgh»", "Authorization: "]}},
        {"test": "curl -H 'Accept: */*' -H 'X-Api-Key: «hunter2-Xy77Zz»' https://api.example.com"},
        {"headers": "Authorization: {{token}}\n\nX-Api-Secret: «s3cr3t»"},
    ],
    "form bodies": [
        {"body": "username=reports&password=«hunter2-Xy77Zz»&remember=1"},
        {"body": "login%5Buser%5D=reports&login%5Bpassword%5D=«hunter2»&login[token]=«t-1»"},
        {"body": f"data={quote(text({'user': 'reports'}))}&api_secret=«s3cr3t»"},
        {"payload": "j_username=reports&j_password=«p%40ss%21»&submit=Login"},
        {"url": "https://a.b/go?next=user%3Dreports%26password%3D«hunter2»%26b%3Dc"},
        {"data": "%7B%22user%22%3A%22reports%22%2C%22password%22%3A%22«hunter2»%22%7D"},
    ],
    "JSON bodies": [
        {"body": '{"user": "reports", "password": "«hunter2-Xy77Zz»", "remember": true}'},
        {"body": '{"limit": {{limit}}, "auth": {"apiKey": "«hunter2-Xy77Zz»"}, "since": "{{start}}"}'},
        {"body": text({"headers": [{"name": "X-Api-Key", "value": "«hunter2-Xy77Zz»"}], "a": 1.50}, indent=2)},
        {"body": 'callback({"user":"reports","password":"«hunter2»"});'},
        {"lines": '{"token": "«t-1»", "n": 1}\n{"token": "«t-2»", "n": 2}'},
        {"body": '{"password": "«first-1»", "password": "«second-2»"}'},
    ],
    "JSON within JSON": [
        {"body": text({"inner": text({"password": "«hunter2-Xy77Zz»", "user": "reports"})})},
        {"body": text({"a": text({"b": text({"c": [{"api_key": "«k-1»"}, 2]})})})},
        {"message": text(text({"client_secret": "«s3cr3t»", "quoted": 'a "b" c'}))},
        {"body": '{"\\u0070assword": "«hunter2»"}', "inner": text('{"api\\u005fkey": "«hunter2»"}')},
        {"query": f"payload={text(text({'token': '«t-0-k»', 'x': 'y'}))}"},
        {"body": text({"body": "user=reports&password=«hunter2»", "headers": "Accept:\nX-Api-Key: «k-2»"})},
        {"step": "POST " + text({"inner": text({"inner": text({"password": "«deep-1»"})})})},
    ],
    "XML and SOAP": [
        {"body": "<s:Login><s:User>reports</s:User><s:Password>«hunter2-Xy77Zz»</s:Password></s:Login>"},
        {"body": '<w:UsernameToken><w:Password Type="w#PasswordText">«hunter2»</w:Password></w:UsernameToken>'},
        {"body": "<login><password><![CDATA[«hun<ter>&2»]]></password><user><![CDATA[reports]]></user></login>"},
        {"body": "<r><![CDATA[<login><user>reports</user><apiKey>«k-1-2»</apiKey></login>]]></r>"},
        {"body": '<login user="reports" password="«hunter 2»"/>'},
        {"body": '<headers><header name="X-Api-Key">«k-77»</header><header name="Accept">*/*</header></headers>'},
        {"body": "<b>&lt;login&gt;&lt;password&gt;«hunter2»&lt;/password&gt;&lt;/login&gt;</b>"},
        {"config": '<add key="ClearTextPassword" value="«hunter2»" /><add key="Timeout" value="30" />'},
    ],
    "GraphQL": [
        {"query": 'mutation { login(user: "reports", password: "«hunter2-Xy77Zz»") { id } }'},
        {"query": "mutation($p: String!) { login(password: $p) { token } }", "variables": {"password": "«hunter2»"}},
        {"body": text({"query": 'mutation { signIn(input: {email: "a@b.c", apiKey: "«k-1»"}) { id } }'})},
        {"body": text({"query": "query { me { id } }", "variables": text({"accessToken": "«t-1»"})})},
        {"query": 'mutation { login(user: "reports", password: """«hunter2»""", token: "") { id } }'},
        {"query": 'mutation { setHeader(name: "X-Api-Key", value: "«k-99»") { ok } }'},
    ],
    "YAML": [
        {"body": "auth:\n  user: reports\n  password: «hunter2-Xy77Zz»\n  realm: a\n"},
        {"config": "api_key: «k-1»  # of May\nregion: eu\ntoken: '«t 0 k»'\nsecret: \"«s3cr3t»\"\n"},
        {"config": "headers:\n  - name: X-Api-Key\n    value: «k-77»\n  - name: Accept\n    value: '*/*'\n"},
        {"config": "login: {user: reports, password: «hunter2», remember: true}\n"},
        {"config": f"ssh:\n  key: |\n    «{PEM.format('')}»\n  user: reports\n"},
        {"config": "vault:\n  password: >-\n    «hunter2-Xy77Zz»\n  user: reports\n"},
        {"config": "vault:\n  password:\n    «hunter2-Xy77Zz»\n  user: reports\n  tokens:\n    - «t-1»\n"},
        {"env": "- DB_HOST=db\n- DB_PASSWORD=«hunter2»\nexport API_TOKEN='«t 1»'\n"},
    ],
    "multipart bodies": [
        {"body": f'{PART}"user"\r\n\r\nreports\r\n{PART}"password"\r\n\r\n«hunter2-Xy77Zz»\r\n--b7Xk--\r\n'},
        {"body": f'{PART}"api_key"\r\nContent-Type: text/plain\r\n\r\n«k-1-2»\r\n--b7Xk--'},
        {"body": f"{PART}token\n\n«t-0-k»\n--b7Xk--\n".replace("\r\n", "\n")},
        {"body": f'{PART}"meta"\r\n\r\n{{"client_secret": "«s3cr3t»"}}\r\n--b7Xk--\r\n'},
    ],
    "objects that hold a value": [
        {"password": {"text": "«hunter2-Xy77Zz»", "style": "plain"}},
        {"apiKey": {"value": "«k-1»", "label": "API key"}, "token": {"content": "«t-1»", "type": "string"}},
        {"login": {"Password": {"#text": "«hunter2»", "@type": "PasswordText"}, "User": {"#text": "reports"}}},
        {"secrets": [{"name": "db", "value": "«hunter2»"}, {"name": "mail", "value": "{{mail}}"}]},
        {"password": {"raw": {"value": "«hunter2»"}}, "client_secret": ["«one-1»", "{{two}}"]},
        {"id": "password", "current_value": "«hunter2»"},
        {"parameters": [{"field": "user", "default": "reports"}, {"field": "password", "default": "«hunter2»"}]},
    ],
    "connection strings": [
        {"dsn": "postgres://reports:«hunter2-Xy77Zz»@db.example.com:5432/shop?sslmode=require"},
        {"uri": "mongodb+srv://reports:«p@ss:w0rd»@cluster0.example.net/shop"},
        {"connection": "Server=db.example.com;Database=shop;User Id=reports;Password=«hunter2»;Encrypt=true"},
        {"storage": "Protocol=https;AccountName=shop;AccountKey=«Eby8vdM02xNOcqFl/K1SZ==»;EndpointSuffix=a.b"},
        {"jdbc": "jdbc:postgresql://db:5432/shop?user=reports&password=«hunter2»&ssl=true"},
        {"jdbc": "jdbc:oracle:thin:reports/«hunter2»@//db.example.com:1521/shop"},
        {"redis": "redis://:«hunter2»@cache.example.com:6379/0", "amqp": "amqp://guest:«gu3st»@mq:5672/v"},
        {"bus": "Endpoint=sb://shop.example.net/;SharedAccessKeyName=Root;SharedAccessKey=«aGVsbG8gd29ybGQ=»"},
    ],
    "tokens in addresses": [
        {"url": "https://«t0k3n-9f8e7d»@git.example.com/team/reports.git"},
        {"url": "https://x-access-token:«v1.9f8e7d»@git.example.com/team/reports.git"},
        {"url": "https://«sk-9f8e7d6c»:@api.example.com/v1/charges"},
        {"url": "https://«9f8e7d6c»:x-oauth-basic@git.example.com/team/reports.git"},
        {"remote": "git+https://«glpat-9f8e7d6c5b4a3f2e1d0c»@git.example.com/team/reports.git"},
        {"notify": "https://hooks.slack.com/services/«T012AB3CD/B045EF6GH/a1B2c3D4e5F6g7H8»"},
        {"notify": "https://discord.com/api/webhooks/«1098765432109876543/aB3-dE5_gH7jK9mN1pQ3»?wait=true"},
        {"notify": "https://shop.webhook.office.com/webhookb2/«0f1e@2d3c/IncomingWebhook/9f8e7d/1a2b»"},
        {"notify": "https://hooks.zapier.com/hooks/catch/«123456/o2x3abc/»"},
        {"notify": "https://api.telegram.org/bot«110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw»/sendMessage?chat_id=1"},
        {"notify": "https://chat.example.com/hooks/«k7rq1xw9z3bn5yc8mdt4ge6hja»"},
    ],
    "known by their beginning": [
        {"note": "The key of May is «ghp_16C7e42F292c6912E7710c838347Ae178B4a»."},
        {"custom": {"c1": "«sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc»", "c2": "«xoxb-" + "210987654321-abcdefGHIJKL»"}},
        {"fields": [{"id": "x", "sample": "«github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVw»"}]},
        {"description": "Use «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» to send."},
        {
            "comment": "npm: «npm_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5»",
            "g": "«AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe»",
        },
        {"shop": "«shpat_0123456789abcdef0123456789abcdef»", "do": f"«dop_v1_{'0a1b2c3d' * 8}»"},
        {"supermetrics": "«api_9a8B7c6D5e4F3g2H1i0J9k8L7m6N»", "aws": "«AKIAQ3EGRIGTESTKEY77»"},
    ],
    "names of any style": [
        {"DB_PASSWORD": "«hunter2»", "db.password": "«hunter3»", "dbPassword": "«hunter4»", "password_2": "«hunter5»"},
        {"Passwort": "«hunter2»", "passwd": "«hunter3»", "PWD": "«hunter4»", "passphrase": "«hunter5»"},
        {"secretValue": "«hunter2»", "token ": "«hunter3»", "password\t": "«hunter4»", "client-secret:": "«hunter5»"},
        {"hmacKey": "«h-1»", "signing_key": "«h-2»", "license key": "«h-3»", "webhookSecret": "«h-4»"},
        {
            "key": "«9f86d081884c7d659a2feaa0c55ad015»",
            "auth": "«Zx81bC99dE23fG45hI67jK89»",
            "sid": "«a81bc99de23fg45hi67jk89l»",
        },
    ],
    "what is not found": [
        {"note": "Log in as reports, hunter2-Xy77Zz is «hunter2-Xy77Zz»"},
        {"auth": "reports:«hunter2-Xy77Zz»", "pin": 4711},
        {"login": ["reports", "«hunter2-Xy77Zz»"]},
        {"tokens": {"production": "«hunter2-Xy77Zz»"}},
        {"password_field": "«hunter2-Xy77Zz»"},
        {"netrc": "machine api.example.com login reports password «hunter2-Xy77Zz»"},
    ],
}
