"""The paths inside a request."""

from framepack.jobs.paths import PATHS, change_paths
from framepack.spec.request import GenerationRequest


def test_every_path_of_a_request_is_known():
    """A new path field must be added to PATHS, or a client could name any file with it."""

    def paths(schema: dict, at: tuple[str, ...], whole: dict) -> set[tuple[str, ...]]:
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        found = {at} if schema.get("format") in ("path", "file-path", "directory-path") else set()
        for name, inner in schema.get("properties", {}).items():
            found |= paths(inner, (*at, name), whole)
        for inner in schema.get("anyOf", []):
            found |= paths(inner, at, whole)
        for inner in [schema["items"]] if "items" in schema else schema.get("prefixItems", []):
            found |= paths(inner, (*at, "*"), whole)
        return found

    schema = GenerationRequest.model_json_schema()
    assert paths(schema, (), schema) == set(PATHS)


def test_changing_paths_leaves_the_rest_alone():
    data = {"image": "a", "prompt": "image", "frames": [{"image": "b", "second": 1}], "end_frame": None}
    changed = change_paths(data, lambda kind, path: f"{kind}:{path}")
    assert changed == {
        "image": "picture:a",
        "prompt": "image",
        "frames": [{"image": "picture:b", "second": 1}],
        "end_frame": None,
    }
