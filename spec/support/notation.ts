import {
  ALL_DISPATCHERS,
  ByteWriter,
  type ChangeEvent,
  type Column,
  Delivery,
  type DispatcherId,
  ddlEvent,
  defineTable,
  dispatcherOfTable,
  dmlEvent,
  drainMarker,
  IMAGE_NEW,
  OP_INSERT,
  type RowBlock,
  RowBlockBuilder,
  resolvedEvent,
  syncpointEvent,
  type Table,
  truncateEvent,
  writeTuple,
} from '../../lib/events/index.ts';

/**
 * Events as text, so that input and output can stand one above the other. A delivery is events between blanks; an event is
 *
 *     a@5.2-4          rows of table `public.a` at commitTs 5, ordinals 2 to 4         a@5 is a@5.0
 *     a@5.2-4,6.0      rows of two transactions in one block
 *     ddl:a@5.2        a schema change; ddl:a@5.2v7 of table version 7                 truncate:a@5.2
 *     sync@7  res@7    a syncpoint, a resolved mark of all; sync:a@7, res:a@7 of one   marker:a  marker:*
 *     hello:a          a handshake                                                    ready:a  gone:a  lost:a
 *
 * with `#EPOCH.SEQ` behind it where there is a session. `shop.a` is table `a` in schema `shop`. Rows are inserts of (id = ordinal).
 */
export function deliveryOf(text: string): Delivery {
  const events = text
    .split(' ')
    .filter((part) => part !== '')
    .map(eventOf);
  return new Delivery(events, events.length * 100);
}

/** The notation of a delivery, or of one event. */
export function show(item: Delivery | ChangeEvent): string {
  return item instanceof Delivery ? item.events.map(show).join(' ') : showEvent(item);
}

/** The text-column table of that name; two columns, `id` its key. The same object for the same name and version. */
export function tableNamed(name: string, version = 1n): Table {
  const known = tables.get(`${name}v${version}`);
  if (known !== undefined) return known;
  const [schema, table] = name.includes('.') ? (name.split('.') as [string, string]) : ['public', name];
  if (!tableIds.has(name)) tableIds.set(name, tableIds.size + 1);
  const tableId = tableIds.get(name)!;
  const made = defineTable({
    dispatcher: dispatcherOfTable('marbles', tableId),
    sourceSchema: schema,
    sourceName: table,
    schema,
    name: table,
    tableId,
    version,
    columns: [column('id', 0, true), column('note', 1, false)],
    replicaIdentity: 'default',
  });
  tables.set(`${name}v${version}`, made);
  return made;
}

export function dispatcherNamed(name: string): DispatcherId {
  return name === '*' ? ALL_DISPATCHERS : tableNamed(name).dispatcher;
}

const tables = new Map<string, Table>();
const tableIds = new Map<string, number>();
const EVENT = /^(?:(\w+):)?([\w.]+|\*)?(?:@([\d.,-]+)(?:v(\d+))?)?(?:#(\d+)\.(\d+))?$/;

function eventOf(text: string): ChangeEvent {
  // `sync@7` and `res@7` are of all dispatchers.
  const match = EVENT.exec(text.replace(/^(sync|res)@/, '$1:*@'));
  if (match === null) throw new Error(`no event: ${text}`);
  const [, kind = 'rows', name = 'a', place = '0', version, epoch = '0', seq = '0'] = match;
  const session = { epoch: BigInt(epoch), seq: BigInt(seq) };
  const dispatcher = dispatcherNamed(name);
  const [ts, ordinal = '0'] = place.split('.');
  const commitTs = BigInt(ts!.split(',')[0]!);
  const position = { commitTs, ordinal: Number(ordinal) };
  switch (kind) {
    case 'rows':
      return dmlEvent(blockOf(tableNamed(name), place), session);
    case 'ddl':
      return ddlEvent({ position, commitTimeUs: 0n, table: tableNamed(name, version === undefined ? commitTs : BigInt(version)) }, session);
    case 'truncate':
      return truncateEvent({ position, commitTimeUs: 0n, table: tableNamed(name, commitTs), query: '' }, session);
    case 'sync':
      return syncpointEvent(commitTs, dispatcher, session);
    case 'res':
      return resolvedEvent(commitTs, 0n, dispatcher, session);
    case 'marker':
      return drainMarker(dispatcher);
    case 'hello':
      return { type: 'handshake', dispatcher, ...session, commitTs, table: tableNamed(name) };
    case 'ready':
      return { type: 'ready', dispatcher, ...session };
    case 'gone':
      return { type: 'notReusable', dispatcher, ...session };
    case 'lost':
      return { type: 'drop', dispatcher, ...session, droppedSeq: session.seq, droppedCommitTs: commitTs };
    default:
      throw new Error(`no event: ${text}`);
  }
}

function blockOf(table: Table, place: string): RowBlock {
  const writer = new ByteWriter();
  const builder = new RowBlockBuilder();
  let previous = '';
  for (const run of place.split(',')) {
    const [ts = '', ordinals = '0'] = run.split('.');
    const [first, last = first] = ordinals.split('-').map(Number) as [number, number | undefined];
    if (ts !== previous) builder.beginTransaction(BigInt(ts), 0n);
    previous = ts;
    for (let ordinal = first; ordinal <= (last ?? first); ordinal++) {
      builder.append(OP_INSERT, writer.length, ordinal);
      writer.writeByte(IMAGE_NEW);
      writeTuple(writer, [String(ordinal), null]);
    }
  }
  return builder.build(table, writer.take());
}

function showEvent(event: ChangeEvent): string {
  const session = event.epoch === 0n && event.seq === 0n ? '' : `#${event.epoch}.${event.seq}`;
  const name = event.dispatcher === ALL_DISPATCHERS ? '' : `:${nameOf(event.dispatcher)}`;
  switch (event.type) {
    case 'dml':
      return `${nameOf(event.dispatcher)}@${showRows(event.rows)}${session}`;
    case 'ddl': {
      const { position, table } = event;
      return `ddl${name}@${showPlace(position.commitTs, position.ordinal)}${table.version === position.commitTs ? '' : `v${table.version}`}${session}`;
    }
    case 'truncate':
      return `truncate${name}@${showPlace(event.position.commitTs, event.position.ordinal)}${session}`;
    case 'syncpoint':
      return `sync${name}@${event.commitTs}${session}`;
    case 'resolved':
      return `res${name}@${event.commitTs}${session}`;
    case 'marker':
      return `marker${name === '' ? ':*' : name}`;
    case 'handshake':
      return `hello${name}${session}`;
    case 'ready':
      return `ready${name}`;
    case 'notReusable':
      return `gone${name}`;
    case 'drop':
      return `lost${name}${session}`;
  }
}

function showRows(rows: RowBlock): string {
  const runs: { ts: bigint; first: number; last: number }[] = [];
  for (let i = 0; i < rows.rowCount; i++) {
    const { commitTs: ts, ordinal } = rows.positionOf(i);
    const run = runs.at(-1);
    if (run !== undefined && run.ts === ts && run.last + 1 === ordinal) run.last = ordinal;
    else runs.push({ ts, first: ordinal, last: ordinal });
  }
  return runs.map(({ ts, first, last }) => (last === first ? showPlace(ts, first) : `${ts}.${first}-${last}`)).join(',');
}

function showPlace(commitTs: bigint, ordinal: number): string {
  return ordinal === 0 ? `${commitTs}` : `${commitTs}.${ordinal}`;
}

function nameOf(dispatcher: DispatcherId): string {
  for (const [name] of tableIds) if (tableNamed(name).dispatcher === dispatcher) return name;
  return dispatcher;
}

function column(name: string, wireIndex: number, isKey: boolean): Column {
  return {
    name,
    wireIndex,
    columnId: wireIndex + 1,
    type: 'text',
    typeModifier: -1,
    nullable: !isKey,
    isPrimaryKey: isKey,
    isIdentity: isKey,
    defaultText: null,
  };
}
