"""A call with the client that openapi-generator makes of /openapi.json."""
import json
import os

import longwire_api
from longwire_api.rest import ApiException

config = longwire_api.Configuration(host=os.environ["LONGWIRE"])
config.access_token = os.environ["LONGWIRE_API_KEY"]
with longwire_api.ApiClient(config) as client:
    messages = longwire_api.MessagesApi(client)
    m = messages.push_one("demo", longwire_api.PushOne(text="open", ttl="1h"), wait="10s")
    assert m.status == "acked", m
    try:
        longwire_api.ClientsApi(client).get_client("nobody")
        raise AssertionError("a client that nobody knows is there")
    except ApiException as e:
        problem = json.loads(e.body)
        assert (e.status, problem["type"]) == (404, longwire_api.ProblemType.ProblemClientNotFound), e.body
    print("ok: Python", m.status, problem["type"])
