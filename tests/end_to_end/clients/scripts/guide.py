"""The guide's sections 1.2 and 1.3 as they stand, but for the import's prefix. Runs where the jobs' SDKs are.

The first argument is JSON: `clients`, the folder of blueprint_clients; `endpoint`, Particulate's address for 1.3, or
null for the client's own; `prompt`; `configure`, a key that the job configures its SDK with; `estimates`, how many.
"""

import json
import sys

arguments = json.loads(sys.argv[1])
sys.path.insert(0, arguments["clients"])

# 1.2, file simready-job/prepare_simready_assets.py
from blueprint_clients.external_services import create_gemini_client  # noqa: E402

gemini_client = create_gemini_client()

import google.generativeai as genai  # noqa: E402

if arguments["configure"]:
    genai.configure(api_key=arguments["configure"])

prompt = arguments["prompt"]
texts = []
for _ in range(arguments["estimates"]):
    response = gemini_client.call(
        func=lambda: genai.GenerativeModel("gemini-1.5-pro").generate_content(prompt),
        timeout=30.0,
        operation_name="estimate_physics",
    )
    texts.append(response.text)

# 1.3, any file calling Particulate
import requests  # noqa: E402

from blueprint_clients.external_services import create_particulate_client  # noqa: E402

particulate_client = create_particulate_client()
endpoint = arguments["endpoint"] or particulate_client.endpoint
data = {"glb_base64": "Z2xURg=="}

# Wrap calls
result = particulate_client.call(
    func=lambda: requests.post(endpoint, json=data),
    timeout=15.0,
)

sys.stdout.write(
    json.dumps(
        {
            "texts": texts,
            "said": result.json(),
            "source": result.headers.get("x-blueprint-source"),
            "gemini": gemini_client.get_stats(),
            "stats": particulate_client.get_stats(),
        }
    )
)
