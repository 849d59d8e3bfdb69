"""The steps of a push as functions of PostgreSQL, which take one round trip each.

Each connection makes them for itself in `pg_temp`: they are a part of this program and not of the
database, so that no migration brings them and replicas of two versions never meet on one. A
function's statements see what others committed before each of them, as statements of a
transaction do: who waited for a lock sees what its last holder wrote. Column meanings are those
that `store` tells; rules are those of `ledger_sql`.

Rows are asked for by the order of the index that is meant (`prepared.ranged`); where there is no
order to ask for, `+ 0` hides a column from its index.

Names of locks are spelt as `store.tag_key` and `quarantine.blob_key` spell them.
"""

from typing import Final

from hatoba.sql.prepared import ranged

_REPOSITORY: Final = f"""
    SELECT id, namespace_user_id, state INTO found_repository, found_namespace, found_state
      FROM repository
     WHERE namespace_user_id = (SELECT id FROM "user" WHERE username = p_namespace)
       AND {ranged("name", "p_name")} AND state <> 3
     ORDER BY name
     LIMIT 1
       FOR KEY SHARE;
    IF NOT FOUND THEN
        outcome := 'no repository';
        RETURN;
    END IF;
"""  # noqa: S608 -- made of constants
"""Nothing of the repository is collected until the end of the transaction."""

# Whoever claims what is only begun holds the claim until the end of his transaction; who waited
# for that sees the row that came of it, or none.
_CLAIM: Final = """
    IF p_claim IS NOT NULL THEN
        INSERT INTO hatoba_upload_claim (id) VALUES (p_claim) ON CONFLICT DO NOTHING;
        v_claimed := FOUND;
    END IF;
"""

_END_UPLOAD: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.hatoba_end_upload(
    p_repository int, p_upload text, p_claim uuid) RETURNS boolean
LANGUAGE plpgsql AS $function$
DECLARE
    v_claimed boolean := false;
BEGIN
{_CLAIM}
    IF NOT v_claimed THEN
        DELETE FROM blobupload WHERE repository_id + 0 = p_repository AND uuid = p_upload;
        RETURN FOUND;
    END IF;
    RETURN true;
END
$function$;
"""  # noqa: S608 -- made of constants

_PUBLISH_BLOB: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.hatoba_publish_blob(
    p_namespace text, p_name text, p_upload text, p_claim uuid, p_received bigint,
    p_digest text, p_uuid text, p_size bigint, p_location int,
    p_now timestamp, p_expires timestamp,
    OUT outcome text, OUT found_repository int, OUT found_namespace int, OUT found_state int)
LANGUAGE plpgsql AS $function$
DECLARE
    v_blob int;
    v_claimed boolean := false;
BEGIN
{_REPOSITORY}
{_CLAIM}
    IF NOT v_claimed THEN
        DELETE FROM blobupload
         WHERE repository_id + 0 = found_repository AND uuid = p_upload
           AND byte_count = p_received;
        IF NOT FOUND THEN
            outcome := 'no upload';
            RETURN;
        END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('blob:' || p_digest, 0));
    SELECT min(id + 0) INTO v_blob FROM imagestorage WHERE content_checksum = p_digest AND cas_path;
    IF v_blob IS NOT NULL THEN
        DELETE FROM hatoba_blob_quarantine WHERE storage_id = v_blob;
        DELETE FROM hatoba_blob_damage WHERE digest = p_digest;
    ELSE
        INSERT INTO imagestorage (uuid, image_size, uploading, cas_path, content_checksum)
        VALUES (p_uuid, p_size, false, true, p_digest)
        RETURNING id INTO v_blob;
    END IF;
    INSERT INTO imagestorageplacement (storage_id, location_id)
    VALUES (v_blob, p_location) ON CONFLICT DO NOTHING;
    INSERT INTO uploadedblob (repository_id, blob_id, uploaded_at, expires_at)
    VALUES (found_repository, v_blob, p_now, p_expires);
    outcome := 'done';
END
$function$;
"""  # noqa: S608 -- made of constants

# One EXISTS over both kinds of holds: of two, the planner may read all that any repository holds.
_FIND_PARTS: Final = f"""
    WITH held AS MATERIALIZED (
        SELECT s.content_checksum AS digest, s.id, s.image_size AS size
          FROM imagestorage s
         WHERE s.content_checksum = ANY (p_blobs) AND s.content_checksum <> ALL (p_absent)
           AND EXISTS (
              (SELECT FROM manifestblob m
                WHERE m.repository_id = found_repository
                  AND {ranged("m.blob_id", "s.id")}
                ORDER BY m.blob_id LIMIT 1)
                UNION ALL
              (SELECT FROM uploadedblob h
                WHERE h.repository_id = found_repository AND h.expires_at > p_now
                  AND {ranged("h.blob_id", "s.id")}
                ORDER BY h.blob_id LIMIT 1))
           AND NOT EXISTS (SELECT FROM hatoba_blob_damage d WHERE d.digest = s.content_checksum)
           FOR KEY SHARE OF s)
    SELECT array_agg(one.digest), array_agg(one.id), array_agg(one.size)
      INTO held_digests, v_blobs, held_sizes
      FROM (SELECT DISTINCT ON (digest) digest, id, size FROM held
             ORDER BY digest, id) one;
    IF cardinality(p_children) > 0 THEN
        SELECT array_agg(held.digest), array_agg(held.id) INTO held_children, v_children
          FROM unnest(p_children) AS child (digest)
         CROSS JOIN LATERAL (
               SELECT m.digest, m.id FROM manifest m
                WHERE m.repository_id = found_repository
                  AND {ranged("m.digest", "child.digest")}
                ORDER BY m.digest LIMIT 1) held;
    END IF;
    -- Usually both are the same, which is seen without a statement.
    IF held_digests IS DISTINCT FROM p_blobs OR held_sizes IS DISTINCT FROM p_sizes THEN
        IF EXISTS (
            SELECT FROM unnest(p_blobs, p_sizes) AS wanted (digest, size)
              LEFT JOIN unnest(held_digests, held_sizes) AS held (digest, size) USING (digest)
             WHERE held.digest IS NULL OR held.size <> wanted.size) THEN
            outcome := 'parts';
            RETURN;
        END IF;
    END IF;
    IF NOT p_children <@ coalesce(held_children, '{{}}') THEN
        outcome := 'parts';
        RETURN;
    END IF;
"""  # noqa: S608 -- made of constants

# A push whose connection was lost is put again with the same values. Its audit row tells whether it
# was done: that came with all the rest, and whoever is still at it holds the lock of the tag.
_DONE_BEFORE: Final = f"""
    IF p_is_again THEN
        SELECT id INTO v_manifest FROM manifest
         WHERE repository_id = found_repository AND {ranged("digest", "p_digest")}
         ORDER BY digest;
        IF FOUND AND EXISTS (
                SELECT FROM logentry3
                 WHERE repository_id = found_repository AND datetime = p_now
                   AND kind_id = p_log_kind AND performer_id IS NOT DISTINCT FROM p_performer
                   AND metadata_json = p_metadata) THEN
            outcome := 'done';
            RETURN;
        END IF;
    END IF;
"""  # noqa: S608 -- made of constants

# As `store.next_moment_ms` does it: a moment at which no other row of the tag ends, and an end for
# each row but the newest that a clock which was put back has left living. Each of those gets a
# moment of its own, and the present one is left to the newest.
_END_TAG: Final = f"""
    FOR v_row IN
        SELECT id, lifetime_start_ms, lifetime_end_ms, hidden, immutable FROM tag
         WHERE repository_id = found_repository AND {ranged("name", "p_tag")}
         ORDER BY name DESC, lifetime_end_ms DESC
    LOOP
        IF v_row.lifetime_end_ms <= p_now_ms + 1000 THEN
            v_moment := greatest(v_moment, v_row.lifetime_end_ms + 1);
        END IF;
        EXIT WHEN v_row.lifetime_end_ms <= p_now_ms;
        v_living := v_living + 1;
        IF v_living = 1 OR (v_row.lifetime_start_ms, v_row.id) > (v_start, v_current) THEN
            v_current := v_row.id;
            v_start := v_row.lifetime_start_ms;
            v_end := v_row.lifetime_end_ms;
            v_hidden := v_row.hidden;
            v_immutable := v_row.immutable;
        END IF;
    END LOOP;
    IF v_living > 1 THEN
        WITH overtaken AS (
             SELECT id, row_number() OVER (ORDER BY lifetime_start_ms DESC, id DESC) AS number
               FROM tag
              WHERE repository_id = found_repository AND name = p_tag AND id <> v_current
                AND (lifetime_end_ms IS NULL OR lifetime_end_ms > p_now_ms)),
        past AS (
             SELECT lifetime_end_ms AS ms FROM tag
              WHERE repository_id = found_repository AND name = p_tag
                AND lifetime_end_ms <= p_now_ms),
        free AS (
             SELECT p_now_ms - gap AS ms, row_number() OVER (ORDER BY gap) AS number
               FROM generate_series(1::bigint,
                    (SELECT count(*) FROM past) + (SELECT count(*) FROM overtaken)) AS gap
              WHERE NOT EXISTS (SELECT FROM past WHERE past.ms = p_now_ms - gap))
        UPDATE tag SET lifetime_end_ms = free.ms
          FROM overtaken JOIN free USING (number)
         WHERE tag.id = overtaken.id;
    END IF;
    IF v_living > 0 AND NOT v_hidden AND (v_end IS NULL OR v_end > v_moment) THEN
        IF v_immutable THEN
            outcome := 'immutable';
            RETURN;
        END IF;
        UPDATE tag SET lifetime_end_ms = v_moment WHERE id = v_current;
    END IF;
"""  # noqa: S608 -- made of constants

_PUSH_MANIFEST: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.hatoba_push_manifest(
    p_namespace text, p_name text, p_states int[],
    p_digest text, p_media_type int, p_content text, p_config_type text, p_layers_size bigint,
    p_subject text, p_artifact_type text,
    p_blobs text[], p_sizes bigint[], p_children text[], p_absent text[],
    p_label_uuids text[], p_label_keys text[], p_label_values text[], p_label_types int[],
    p_label_sources int[],
    p_tag text, p_hidden boolean, p_tag_kind int, p_now_ms bigint, p_lifetime_ms bigint,
    p_now timestamp,
    p_log_kind int, p_performer int, p_ip text, p_metadata text, p_is_again boolean,
    OUT outcome text, OUT found_repository int, OUT found_namespace int, OUT found_state int,
    OUT held_digests text[], OUT held_sizes bigint[], OUT held_children text[])
LANGUAGE plpgsql AS $function$
DECLARE
    v_blobs int[];
    v_children int[];
    v_manifest int;
    v_row record;
    v_living int := 0;
    v_current int;
    v_start bigint;
    v_end bigint;
    v_hidden boolean;
    v_immutable boolean;
    v_is_new boolean;
    v_is_labelled boolean := false;
    v_moment bigint := p_now_ms;
BEGIN
{_REPOSITORY}
    IF NOT found_state = ANY (p_states) THEN
        outcome := 'state';
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(
        hashtextextended('tag:' || found_repository || ':' || p_tag, 0));
{_DONE_BEFORE}
{_FIND_PARTS}
    IF NOT p_hidden THEN
{_END_TAG}
    END IF;
    INSERT INTO manifest
           (repository_id, digest, media_type_id, manifest_bytes, config_media_type,
            layers_compressed_size, subject, subject_backfilled, artifact_type,
            artifact_type_backfilled)
    VALUES (found_repository, p_digest, p_media_type, p_content, p_config_type,
            p_layers_size, p_subject, true, p_artifact_type, true)
    ON CONFLICT DO NOTHING
    RETURNING id INTO v_manifest;
    v_is_new := FOUND;
    IF v_is_new THEN
        INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
        SELECT found_repository, v_manifest, blob FROM unnest(v_blobs) AS blob;
    ELSE
        SELECT id INTO STRICT v_manifest FROM manifest
         WHERE repository_id = found_repository AND {ranged("digest", "p_digest")}
         ORDER BY digest;
        INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
        SELECT found_repository, v_manifest, blob FROM unnest(v_blobs) AS blob ORDER BY blob
        ON CONFLICT DO NOTHING;
        v_is_labelled := EXISTS (SELECT FROM manifestlabel WHERE manifest_id = v_manifest);
    END IF;
    IF cardinality(p_children) > 0 THEN
        INSERT INTO manifestchild (repository_id, manifest_id, child_manifest_id)
        SELECT found_repository, v_manifest, child FROM unnest(v_children) AS child ORDER BY child
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(p_label_uuids) > 0 AND NOT v_is_labelled THEN
        WITH added AS (
             INSERT INTO label (uuid, key, value, media_type_id, source_type_id)
             SELECT * FROM unnest(
                    p_label_uuids, p_label_keys, p_label_values, p_label_types, p_label_sources)
             RETURNING id)
        INSERT INTO manifestlabel (repository_id, manifest_id, label_id)
        SELECT found_repository, v_manifest, id FROM added ORDER BY id;
    END IF;
    INSERT INTO tag
           (name, repository_id, manifest_id, lifetime_start_ms, lifetime_end_ms, tag_kind_id,
            hidden, reversion, immutable)
    VALUES (p_tag, found_repository, v_manifest, v_moment, v_moment + p_lifetime_ms, p_tag_kind,
            p_hidden, false, false);
    INSERT INTO logentry3
           (kind_id, account_id, performer_id, repository_id, datetime, ip, metadata_json)
    VALUES (p_log_kind, found_namespace, p_performer, found_repository, p_now, p_ip, p_metadata);
    outcome := 'done';
END
$function$;
"""  # noqa: S608 -- made of constants

FUNCTIONS: Final = _END_UPLOAD + _PUBLISH_BLOB + _PUSH_MANIFEST
"""What a connection runs first."""
