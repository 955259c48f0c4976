"""SDKs made with the settings of their factories; the last line printed is JSON.

The first argument is JSON: `clients`, the folder of blueprint_clients, and `sdk`, genai or gcs.
"""

import json
import sys
from importlib import import_module

arguments = json.loads(sys.argv[1])
sys.path.insert(0, arguments["clients"])

from blueprint_clients.errors import BlueprintError  # noqa: E402
from blueprint_clients.external_services import create_gcs_client, create_gemini_client  # noqa: E402


def ask_gemini():
    client = create_gemini_client()
    sdk = import_module("google.genai").Client(**client.client_options())

    def generate():
        return sdk.models.generate_content(model="gemini-2.5-flash", contents="prompt").text

    return client, client.call(generate, timeout=30.0)


def use_storage():
    client = create_gcs_client()
    storage = import_module("google.cloud.storage")
    sdk = storage.Client("scenes", credentials=client.credentials(), client_options=client.client_options())
    blob = sdk.bucket("scenes-7").blob("scene.json")

    def upload():
        blob.upload_from_string("{}", if_generation_match=0)
        return blob.download_as_bytes().decode()

    return client, client.call(upload, timeout=30.0)


said = {}
try:
    used, said["result"] = {"genai": ask_gemini, "gcs": use_storage}[arguments["sdk"]]()
    said["stats"] = used.get_stats()
except BlueprintError as error:
    said["error"] = [type(error).__name__, error.reason, error.upstream, error.request_id is not None]
sys.stdout.write(json.dumps(said))
