import { createHash } from 'node:crypto';
import { isMillraceError, MillraceError, reasonOf } from '../../errors.ts';
import type { Logger } from '../../flow/index.ts';
import { type Query, textOf } from './connection.ts';
import { DDL_TEXT_BYTES_MAX, ddlMessagePrefix } from './ddl-message.ts';
import { quoteIdentifier, quoteLiteral } from './session-settings.ts';
import { sqlStateOf } from './wire-frames.ts';

/** What carries the text of schema changes to a slot, and for which publication's tables. */
export interface DdlTextCarrier {
  readonly slot: string;
  readonly publication: string;
  /** `server_version_num`. */
  readonly versionNumber: number;
}

/** `changed`: something of it is missing, disabled, or not as this version of Millrace makes it. */
export type CarrierState = 'present' | 'absent' | 'changed';

/**
 * The statements that install the carrier, or replace it: a function and two event triggers, in one transaction, which waits for any other that installs or
 * removes one. Event triggers need a superuser.
 *
 * The function can neither break nor hold up the application's statement: whatever fails in it becomes a warning, and it reads catalogs only, without a lock on
 * any table. It runs as its owner, so that EXECUTE on `pg_logical_emit_message` may be taken from everybody else. One of its name is not replaced but dropped:
 * whoever owned it could change it again, and event triggers run it for everybody.
 */
export function installCarrierSql(carrier: DdlTextCarrier): string {
  const { functionName, onChange, onDrop } = namesOf(carrier.slot);
  const mark = quoteLiteral(`made by Millrace for the replication slot ${carrier.slot}`);
  return `${ONE_AT_A_TIME};
${MAKE_SCHEMA};
DROP EVENT TRIGGER IF EXISTS ${onChange};
DROP EVENT TRIGGER IF EXISTS ${onDrop};
DROP FUNCTION IF EXISTS ${SCHEMA}.${functionName}();
CREATE FUNCTION ${SCHEMA}.${functionName}() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS ${quoteLiteral(functionBody(carrier))};
COMMENT ON FUNCTION ${SCHEMA}.${functionName}() IS ${mark};
CREATE EVENT TRIGGER ${onChange} ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION ${SCHEMA}.${functionName}();
CREATE EVENT TRIGGER ${onDrop} ON sql_drop EXECUTE FUNCTION ${SCHEMA}.${functionName}();
ALTER EVENT TRIGGER ${onChange} ENABLE ALWAYS;
ALTER EVENT TRIGGER ${onDrop} ENABLE ALWAYS;
`;
}

/** How it stands with the carrier on the server. */
export async function readCarrier(query: Query, carrier: DdlTextCarrier): Promise<CarrierState> {
  const { function: name, change, drop } = plainNamesOf(carrier.slot);
  const rows =
    await query(`SELECT t.evtname, t.evtevent, t.evtenabled, array_to_string(t.evttags, ',') AS tags, p.prosrc, p.prosecdef::text AS definer,
    array_to_string(p.proconfig, ';') AS config, (p.proowner = t.evtowner AND n.nspname = ${quoteLiteral(SCHEMA)} AND p.proname = ${quoteLiteral(name)})::text AS is_ours
    FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE t.evtname IN (${quoteLiteral(change)}, ${quoteLiteral(drop)})`);
  if (rows.length === 0) return 'absent';
  const body = functionBody(carrier);
  const isRight = (name: string, event: string, tags: string) =>
    rows.some(
      (row) =>
        row['evtname'] === name &&
        row['evtevent'] === event &&
        row['evtenabled'] === 'A' &&
        (row['tags'] ?? '') === tags &&
        row['prosrc'] === body &&
        row['definer'] === 'true' &&
        row['config'] === 'search_path=pg_catalog, pg_temp' &&
        row['is_ours'] === 'true',
    );
  return isRight(change, 'ddl_command_end', 'ALTER TABLE') && isRight(drop, 'sql_drop', '') ? 'present' : 'changed';
}

/** Installs the carrier. @param isTrial everything is undone again: it shows whether our role may. @throws MR_DDL_TEXT_REFUSED. */
export async function installCarrier(query: Query, carrier: DdlTextCarrier, user: string, isTrial = false): Promise<void> {
  try {
    await query(`BEGIN; SET LOCAL client_min_messages = error; ${installCarrierSql(carrier)}${isTrial ? 'ROLLBACK' : 'COMMIT'}`);
  } catch (error) {
    if (!isMillraceError(error, 'MR_CONNECTION_LOST')) await query('ROLLBACK');
    if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) throw error;
    throw new MillraceError('MR_DDL_TEXT_REFUSED', { user, slot: carrier.slot, reason: serverReason(error) }, error);
  }
}

/**
 * Makes sure, before anything else is created, that the texts will come. One that stands there in another form, as of an earlier release, is left to whoever may
 * mend it: texts are no part of what must not be lost.
 *
 * @returns whether the carrier is to be installed.
 * @throws MR_DDL_TEXT_REFUSED when there is none, and our role may not install it.
 */
export async function checkCarrier(query: Query, carrier: DdlTextCarrier, user: string, logger: Logger): Promise<boolean> {
  const state = await readCarrier(query, carrier);
  if (state === 'present') return false;
  try {
    await installCarrier(query, carrier, user, true);
    return true;
  } catch (error) {
    if (state === 'absent' || !isMillraceError(error, 'MR_DDL_TEXT_REFUSED')) throw error;
    logger.warn(
      { slot: carrier.slot, user },
      'the event triggers that carry the text of schema changes are of another form, and this role may not install them anew: run `millrace ddl-text` as a superuser',
    );
    return false;
  }
}

/** Warns where event triggers are switched off for the whole server (from 17 on they can be). */
export async function warnIfEventTriggersAreOff(query: Query, logger: Logger): Promise<void> {
  const [row] = await query("SELECT coalesce(current_setting('event_triggers', true), 'on') AS event_triggers");
  if (textOf(row, 'event_triggers') === 'off')
    logger.warn({}, 'event_triggers is off on this server: the text of schema changes does not come');
}

/**
 * Removes what carries texts to the slot, and the schema with the last one if it was made for them and nothing else is in it.
 *
 * @returns whether anything was there.
 * @throws MR_SOURCE_PERMISSION, and then nothing was removed.
 */
export async function removeCarrier(query: Query, slot: string, user: string): Promise<boolean> {
  const { functionName, onChange, onDrop } = namesOf(slot);
  const { function: name, change, drop } = plainNamesOf(slot);
  const [found] =
    await query(`SELECT (EXISTS (SELECT FROM pg_event_trigger WHERE evtname IN (${quoteLiteral(change)}, ${quoteLiteral(drop)}))
    OR EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = ${quoteLiteral(SCHEMA)} AND p.proname = ${quoteLiteral(name)}))::text AS found`);
  if (textOf(found, 'found') !== 'true') return false;
  try {
    await query(`BEGIN; SET LOCAL client_min_messages = error; ${ONE_AT_A_TIME};
      DROP EVENT TRIGGER IF EXISTS ${onChange}; DROP EVENT TRIGGER IF EXISTS ${onDrop}; DROP FUNCTION IF EXISTS ${SCHEMA}.${functionName}(); ${DROP_SCHEMA}; COMMIT`);
  } catch (error) {
    if (!isMillraceError(error, 'MR_CONNECTION_LOST')) await query('ROLLBACK');
    if (sqlStateOf(error) !== INSUFFICIENT_PRIVILEGE) throw error;
    throw new MillraceError(
      'MR_SOURCE_PERMISSION',
      { user, what: 'drop the event triggers of ddl-text', reason: serverReason(error) },
      error,
    );
  }
  return true;
}

const SCHEMA = 'millrace';
const SCHEMA_MARK = 'made by Millrace';
const INSUFFICIENT_PRIVILEGE = '42501';

/** Until the transaction ends. Two that look at once would both find no schema, and one of them would fail to make it. */
const ONE_AT_A_TIME = `SELECT pg_advisory_xact_lock(${BigInt(`0x${Buffer.from(SCHEMA).toString('hex')}`)})`;

/** One that is there is somebody else's, or has the mark already. */
const MAKE_SCHEMA = `DO ${quoteLiteral(`BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '${SCHEMA}') THEN
    CREATE SCHEMA ${SCHEMA};
    COMMENT ON SCHEMA ${SCHEMA} IS '${SCHEMA_MARK}';
  END IF;
END`)}`;

/** Other slots may have theirs in it. */
const DROP_SCHEMA = `DO ${quoteLiteral(`BEGIN
  IF EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = '${SCHEMA}' AND obj_description(n.oid, 'pg_namespace') = '${SCHEMA_MARK}') THEN
    DROP SCHEMA ${SCHEMA} RESTRICT;
  END IF;
EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
  NULL;
END`)}`;

function plainNamesOf(slot: string) {
  // Slots have names of up to 63 bytes, and so has everything else.
  const tail = slot.length <= 48 ? slot : `${slot.slice(0, 39)}_${createHash('sha256').update(slot).digest('hex').slice(0, 8)}`;
  return { function: `ddl_text_${tail}`, change: `millrace_ddl_${tail}`, drop: `millrace_drop_${tail}` };
}

function namesOf(slot: string) {
  const { function: name, change, drop } = plainNamesOf(slot);
  return { functionName: quoteIdentifier(name), onChange: quoteIdentifier(change), onDrop: quoteIdentifier(drop) };
}

/**
 * Tables that are not published are not told of, and neither is the text of their statements. Not by `pg_publication_tables`, which locks each table that it
 * lists. A column that ALTER TABLE itself drops is told of when that ends.
 *
 * The empty message behind it keeps it in its place: a decoder sorts what the parts of a transaction did (the exception block is such a part) by where a row's
 * record begins and where a message's ends, so a row right behind it would have the same place and could come first.
 */
function functionBody({ slot, publication, versionNumber }: DdlTextCarrier): string {
  const name = quoteLiteral(publication);
  const hasSchemas = versionNumber >= 150000;
  const isPublished = (oid: string) => `EXISTS (SELECT FROM pg_publication p WHERE p.pubname = ${name} AND (p.puballtables
      OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = ${oid})${
        hasSchemas
          ? `
      OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_class c ON c.relnamespace = s.pnnspid WHERE s.pnpubid = p.oid AND c.oid = ${oid})`
          : ''
      }))`;
  // What fell with the publication's part in it, asked once: asked for each table, DROP SCHEMA with 2,000 tables takes four times as long, under its locks.
  const fallen = (type: string) => `(SELECT e.address_names FROM pg_event_trigger_dropped_objects() e
        WHERE e.object_type = '${type}' AND e.address_args = ARRAY[${name}::text])`;
  const wasPublished = `(d.address_names IN ${fallen('publication relation')}
      OR d.address_names[1:1] IN ${fallen('publication namespace')}
      OR EXISTS (SELECT FROM pg_publication p WHERE p.pubname = ${name} AND (p.puballtables${
        hasSchemas
          ? `
        OR EXISTS (SELECT FROM pg_publication_namespace s JOIN pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid AND n.nspname = d.schema_name)`
          : ''
      })))`;
  const object = (alias: string) =>
    `json_agg(json_build_object('classid', ${alias}.classid::int8, 'objid', ${alias}.objid::int8, 'objsubid', ${alias}.objsubid,
      'type', ${alias}.object_type, 'schema', ${alias}.schema_name, 'identity', ${alias}.object_identity))`;
  return `
DECLARE
  objects json;
  statement text;
BEGIN
  IF tg_event = 'sql_drop' THEN
    SELECT ${object('d')} INTO objects FROM pg_event_trigger_dropped_objects() d
    WHERE d.classid = 'pg_class'::regclass AND NOT d.is_temporary AND (
      d.object_type = 'table' AND ${wasPublished}
      OR d.object_type = 'table column' AND tg_tag <> 'ALTER TABLE' AND ${isPublished('d.objid')});
  ELSE
    SELECT ${object('d')} INTO objects FROM pg_event_trigger_ddl_commands() d
    WHERE d.classid = 'pg_class'::regclass AND d.object_type IN ('table', 'table column') AND d.schema_name <> 'pg_temp' AND ${isPublished('d.objid')};
  END IF;
  IF objects IS NOT NULL THEN
    statement := current_query();
    IF octet_length(statement) > ${DDL_TEXT_BYTES_MAX} THEN
      statement := NULL;
    END IF;
    PERFORM pg_logical_emit_message(true, ${quoteLiteral(ddlMessagePrefix(slot))}, convert_to(
      json_build_object('event', tg_event, 'tag', tg_tag, 'query', statement, 'objects', objects)::text, 'UTF8'));
    PERFORM pg_logical_emit_message(true, 'millrace', '');
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'Millrace cannot tell of this %: %', tg_tag, SQLERRM;
END
`;
}

function serverReason(error: unknown): string {
  return error instanceof MillraceError && typeof error.details.reason === 'string' ? error.details.reason : reasonOf(error);
}
