/**
 * What the event triggers of `ddlText` put into the WAL, as the stream brings it: one logical message for each statement that touched published tables.
 * Pure.
 */
export interface DdlMessage {
  /** The command's tag, as `ALTER TABLE`. */
  readonly tag: string;
  /** What the client sent, whole: it may hold more than this statement. Null where the server left it out, because it was too long or there was none. */
  readonly query: string | null;
  /** oids of the tables that it changed. */
  readonly altered: readonly number[];
  /** oids of the tables that it dropped. */
  readonly dropped: readonly number[];
}

/** A query text longer than this is left out of the stream: a script sent as one string would come once for each statement in it. */
export const DDL_TEXT_BYTES_MAX = 32_768;

/** The prefix of the logical messages for a slot. Two slots of one database have triggers of their own. */
export function ddlMessagePrefix(slot: string): string {
  return `millrace.ddl.${slot}`;
}

/** Reads a message's content. Null where it is none of ours: every role that may write logical messages can write this prefix. */
export function parseDdlMessage(content: Buffer): DdlMessage | null {
  let json: unknown;
  try {
    json = JSON.parse(content.toString('utf8'));
  } catch {
    return null;
  }
  if (!isRecord(json)) return null;
  const { event, tag, query = null, objects } = json;
  if (event !== 'ddl_command_end' && event !== 'sql_drop') return null;
  if (typeof tag !== 'string' || (query !== null && typeof query !== 'string') || !Array.isArray(objects)) return null;
  const altered = new Set<number>();
  const dropped = new Set<number>();
  for (const object of objects as unknown[]) {
    if (!isRecord(object)) return null;
    const { objid, type } = object;
    if (typeof objid !== 'number' || !Number.isInteger(objid) || objid <= 0) return null;
    // A column that fell with something else is a change of its table.
    (event === 'sql_drop' && type === 'table' ? dropped : altered).add(objid);
  }
  const isTooLong = query !== null && Buffer.byteLength(query) > DDL_TEXT_BYTES_MAX;
  return { tag, query: isTooLong || query === '' ? null : query, altered: [...altered], dropped: [...dropped] };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
