"""Where we differ from the recorded Quay on purpose, and what is not built yet.

Each row of PURPOSES: a pattern of the step's name and path, the recorded status (None for any),
ours (None for any), and the reason. A row that matches nothing is an error of the table.
"""

import re

NOT_BUILT = {
    "autoprune": "auto-prune policies",
    "final": "export of action logs and other late checks",
    "full-access": "profile with superusers' full access",
    "immutability": "immutability policies",
    "messages": "messages",
    "notifications": "notifications",
    "oauth": "OAuth authorize flow",
    "oauth-code-flow": "OAuth code flow",
    "orgmirror": "mirrors of organizations",
    "proxycache": "proxy cache",
    "quota": "quotas",
    "search": "search",
    "superuser-keys": "service keys over the API",
    "v1-protocol": "the docker v1 protocol",
    "workers": "background workers with outside effects",
    "skopeo": "lines of a client program",
}

OUTSIDE = (
    r"^tag\.(list|expire)",  # depends on what skopeo pushed; expiring is of a later version
    r"^repo\.get_with_tags|^tag\.delete_skopeo",
    r"^(builds|triggers)\.off",
    r"/notification/",
    r"^mx\..*GET /user/logs$",
    r"^logs\..*(export)",  # exporting logs
    r"^logs\..*(?<!_anon)(?<!_other)(?<!_missing)(?<!_rev)(?<!_old)$",  # other features wrote in them
    r"^mir\.health_ns",
    r"^mx\.[a-z_0-9]+\.GET /repository/.org./.r2.(/tag/)?$",  # tags that a policy made immutable
    r"^(rs\.v2_get|dp\.get)$",  # content that other features had changed
    r"^catalog\.",  # ordered by identity there, and shows deleted namespaces
)

UNSENT = {
    "mir.post_no_timeout": "skopeo_timeout_interval is optional, as in 3.6: it would be accepted",
}
"""Exchanges that succeed here and were refused there: sent, they would change what follows."""

CODES = "the codes of the specification; Quay's own is in the detail"

PURPOSES = (
    (r"user.view_missing", 404, 404, "a missing account has the shape of other missing things"),
    (r"su.put_(disable|email)", 200, 200, "the answer shows the change, not the state before"),
    (r"", 500, None, "a 500 there is a 4xx here"),
    (r"", 308, 404, "an unknown path: plain 404 in the API's own shape"),
    (r"", 308, 405, "a known path with another method: 405"),
    (r"_dup_email|put_email_dup", 400, 400, "the database's own words are not shown"),
    (r"star\.(add|delete)_missing", 200, None, "an unknown repository is 404, or nothing to do"),
    (r"star\.add_noperm|mx.user2.*starred", None, None, "what cannot be read cannot be starred"),
    (r"repo\.delete_again", 204, 404, "a repository that is gone is 404"),
    (r"visibility_missing_repo", 200, 404, "a missing repository is 404"),
    (r"^mir\.get(2|_syncnow|_cancel) ", 200, 200, "a changed rule of a mirror is kept"),
    (r"robot\.list_limit", 200, 200, "the first robots of a limited list are the oldest"),
    (r"err_empty_pw", 429, 401, "depends on how fast the recorded client was"),
    (r"^mx\.", 400, 403, "permission is decided before the body is looked at"),
    (r"^ao\.(v2auth|catalog)", 401, 401, "the error shape of the specification"),
    (r" /v2/", 401, 401, "the error shape of the specification"),
    (r"v2.ping_old_docker", 404, 401, "clients of docker 1.5 and older are asked to log in"),
    (r"blob\.get_range", 200, 206, "Range is honoured"),
    (r"blob\.get_range", 200, 416, "Range is honoured"),
    (r"blob\.get_(bad|short)digest", None, 400, "a malformed digest is DIGEST_INVALID"),
    (r"chunk\.patch_overlap", 404, 416, "an artefact of the recording's set-up"),
    (r"chunk3\.", None, None, "a chunk out of order is refused, as the specification says"),
    (r"sha512\.put", 400, 201, "sha512 is supported"),
    (r"blob\.delete", 405, 202, "a blob that no manifest names can be deleted"),
    (r"(baddigest|blob\.post_mono_bad|man\.put_wrong_digest)", 400, 400, CODES),
    (r"chunk\.patch_(bad|bytes)range|chunk4\.reversed", 400, 400, CODES),
    (r"man\.put_missing_blobs|idx\.put_missing_child", 400, 400, CODES),
    (r"del\.get_deleted_tag", 404, 404, CODES),
    (r"dp\.(upload|put|delete) .* ?/v2/", 405, 405, CODES),
    (
        r"v2auth\.(user_delete_action|catalog_scope|repository_plugin)",
        400,
        200,
        "what no token grants is left out of it; only what cannot be read is refused",
    ),
    (r"^imm\..* ?/v2/", 409, 409, CODES),
    (r"man\.put_noct", 400, 201, "without a Content-Type the document's own type is taken"),
    (r"man\.put_json_ct", 400, 415, "an unsupported type of manifest is 415"),
    (r"man\.put_ct_charset", 415, 201, "parameters of a media type are tolerated"),
    (r"man\.(put|get)_(badtag|longtag|bad_ref|bad_digest)", 404, 400, "malformed: 400"),
    (r"man\.put_wrong_size", 201, 400, "a descriptor with a wrong size is refused"),
    (r"man\.put_schema1", 201, 415, "schema 1 is not offered"),
    (r"(man|idx)\.get_.*accept", 200, 200, "the stored manifest, never a converted one"),
    (r"man\.options", 200, 405, "OPTIONS has no meaning in the protocol"),
    (r"ref\.list_(dangling|unknown)", 400, 200, "the specification: an empty index"),
    (r"^ref\.list ", 200, 200, "the order of referrers is not contract"),
    (r"ref\.list_filter", 200, 200, "the index has no annotations of its own"),
    (r"ref\.list_bad_digest", 404, 400, "a malformed digest is DIGEST_INVALID"),
    (r"pub\.anon_notoken", 200, 401, "without a token the client is told where to get one"),
)


def in_scope(exchange):
    """Say whether an exchange is about what is built."""
    if exchange["method"] == "SKOPEO":
        return False
    text = f"{exchange['step']} {exchange['path']}"
    return not any(
        re.search(pattern, exchange["step"]) or re.search(pattern, text) for pattern in OUTSIDE
    )


def purpose(exchange, status):
    """Return why an answer differs on purpose; None when it does not."""
    text = f"{exchange['step']} {exchange['path']}"
    for pattern, theirs, ours, reason in PURPOSES:
        if theirs not in (None, exchange["status"]) or ours not in (None, status):
            continue
        if status is not None and status >= 500:
            continue
        if re.search(pattern, text):
            return reason
    return None
