"""The API's description against what the API answers: every answer must be one that it describes."""
import json
import re

import jsonschema
import yaml

from postern import Failure, expect


class Description:
    def __init__(self, text):
        self.document = yaml.safe_load(text)
        self.seen = set()  # (method, path, status)
        self._resolver = jsonschema.RefResolver("", self.document)

    def operations(self):
        return {(method, path) for path, item in self.document["paths"].items()
                for method in item if method in ("get", "post", "delete", "put", "patch")}

    def _operation(self, method, target):
        path = target.split("?")[0].removeprefix("/api/v1")
        for literal in (True, False):  # /nodes/{node} never hides a path without braces
            for pattern in self.document["paths"]:
                if literal != ("{" not in pattern):
                    continue
                if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", pattern), path):
                    return pattern, self.document["paths"][pattern][method.lower()]
        raise Failure(f"{method} {target} is not described")

    def check(self, method, target, status, content_type, body):
        """Raises unless this answer is described."""
        pattern, operation = self._operation(method, target)
        responses = operation["responses"]
        response = responses.get(str(status)) or (responses.get("default") if status >= 400 else None)
        expect(response is not None, f"{method} {target} answers {status}, which is not described")
        if "$ref" in response:
            response = self._resolver.resolve(response["$ref"])[1]
        self.seen.add((method.lower(), pattern, status))
        media = content_type.split(";")[0]
        described = response.get("content", {})
        expect(media in described, f"{method} {target}: {status} comes as {media}, described: {list(described)}")
        if not media.endswith("json"):
            return
        validator = jsonschema.Draft202012Validator(
            described[media]["schema"], resolver=self._resolver,
            format_checker=jsonschema.FormatChecker())
        errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}"
                  for e in validator.iter_errors(json.loads(body))]
        expect(not errors, f"{method} {target}: {errors[:3]}")
