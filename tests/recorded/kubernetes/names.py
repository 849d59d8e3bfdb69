"""Recorded versions, uids and tokens translated into those of this run.

They are learnt from answers: where both answers have such a value at the same place, the one
stands for the other in later requests.
"""

from urllib.parse import parse_qsl, quote_plus


class Names:
    def __init__(self):
        self._versions = {}
        self._others = {}

    def learn(self, recorded, own):
        if isinstance(recorded, dict) and isinstance(own, dict):
            for key in recorded.keys() & own.keys():
                self._learn_value(key, recorded[key], own[key])
        elif isinstance(recorded, list) and isinstance(own, list):
            named = {_name(item): item for item in own}
            for index, item in enumerate(recorded):
                name = _name(item)
                if name is not None and name in named:
                    self.learn(item, named[name])
                elif name is None and index < len(own):
                    self.learn(item, own[index])

    def _learn_value(self, key, recorded, own):
        if key == "resourceVersion" and str(recorded).isdigit() and str(own).isdigit():
            self._versions[int(recorded)] = str(own)
        elif key in {"uid", "continue"} and isinstance(recorded, str) and isinstance(own, str):
            self._others[recorded] = own
        else:
            self.learn(recorded, own)

    def version(self, text):
        """Return this run's version for a recorded one: the last known that is not newer."""
        if not text.isdigit() or int(text) < min(self._versions, default=0):
            return text
        known = [version for version in self._versions if version <= int(text)]
        if not known or int(text) > max(self._versions) + 100_000:
            return text
        return self._versions[max(known)]

    def in_query(self, query):
        return "&".join(
            f"{quote_plus(key)}={quote_plus(self._in_parameter(key, value))}"
            for key, value in parse_qsl(query, keep_blank_values=True)
        )

    def _in_parameter(self, key, value):
        if key == "resourceVersion":
            return self.version(value)
        if key == "continue":
            return self._others.get(value, value)
        if key == "fieldSelector":
            for recorded, own in self._others.items():
                value = value.replace(recorded, own)
        return value

    def in_body(self, body):
        if isinstance(body, list):
            return [self.in_body(item) for item in body]
        if not isinstance(body, dict):
            return self._others.get(body, body) if isinstance(body, str) else body
        found = {key: self.in_body(value) for key, value in body.items()}
        if isinstance(found.get("resourceVersion"), str):
            found["resourceVersion"] = self.version(found["resourceVersion"])
        if str(found.get("path", "")).endswith("/resourceVersion"):
            found["value"] = self.version(str(found["value"]))
        return found


def _name(item):
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("object"), dict):
        return _name(item["object"])
    metadata = item.get("metadata")
    if not isinstance(metadata, dict) or "name" not in metadata:
        return None
    return (item.get("kind"), metadata.get("namespace"), metadata["name"])
